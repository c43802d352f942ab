//! Removes what is past its retention: at the start, then every hour.

use std::sync::Arc;
use std::time::Duration;

use sandscope_model::Clock;
use sandscope_store::Store;
use tokio_util::sync::CancellationToken;

const PERIOD: Duration = Duration::from_secs(3600);

pub(crate) async fn run(store: Store, clock: Arc<dyn Clock>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            // Removal goes in small batches, so it can stop between any two of them.
            outcome = store.delete_expired(clock.now()) => match outcome {
                Ok(removed) => tracing::debug!(?removed, "retention"),
                Err(error) => tracing::warn!(%error, "retention could not remove what is past its time"),
            },
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep(PERIOD) => {}
        }
    }
}
