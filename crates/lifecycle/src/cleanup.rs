use std::sync::Arc;
use std::time::Duration;

use sandscope_model::SandboxId;

use crate::context::Context;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// Removes what is left on the host of a sandbox that is recorded as gone, or was never recorded. What cannot be
/// removed now is tried again in the background; what still remains when the server stops is found by the next start.
pub(crate) async fn remove_remains(context: &Arc<Context>, id: &SandboxId) {
    if is_removed(context, id).await {
        return;
    }
    let (context, id) = (Arc::clone(context), id.clone());
    context.tasks.clone().spawn(async move {
        let mut delay = FIRST_DELAY;
        loop {
            tokio::select! {
                biased;
                () = context.draining.cancelled() => return,
                () = context.clock.sleep(delay) => {}
            }
            if is_removed(&context, &id).await {
                return;
            }
            delay = (delay * 2).min(LONGEST_DELAY);
        }
    });
}

async fn is_removed(context: &Context, id: &SandboxId) -> bool {
    match context.engine.kill(id).await {
        Ok(_) => true,
        Err(error) => {
            tracing::error!(sandbox_id = %id, %error, "what is left of a dead sandbox cannot be removed yet");
            context.nudge.notify_one();
            false
        }
    }
}
