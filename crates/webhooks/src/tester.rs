use std::sync::Arc;

use sandscope_model::{
    Attempt, BuildId, Clock, Entropy, Event, EventDraft, EventId, EventType, ExecutionId, SandboxId,
    SandboxRef, TemplateId, Webhook,
};
use sandscope_outbound::{EgressGuard, Tls};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::attempt::{Attempter, Made};
use crate::defaults::Defaults;
use crate::receiver_client;
use crate::recorder::WeakRecorder;

/// Tests under way at once.
const MAX_TESTS: usize = 8;

/// Sends made-up events the way real ones go: same rendering, signatures, guard, deadline and record.
#[derive(Clone)]
pub struct Tester {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) guard: EgressGuard,
    pub(crate) tls: Arc<Tls>,
    pub(crate) defaults: Arc<Defaults>,
    pub(crate) recorder: WeakRecorder,
    pub(crate) under_way: Arc<Semaphore>,
}

impl std::fmt::Debug for Tester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tester").finish_non_exhaustive()
    }
}

impl Tester {
    pub(crate) fn permits() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(MAX_TESTS))
    }

    /// Sends `webhook` an event that never happened, once. `None` if too many tests are under way.
    pub async fn test(&self, webhook: &Webhook) -> Option<Attempt> {
        let _permit = self.under_way.try_acquire().ok()?;
        let event = self.event(webhook);
        let attempter = Attempter {
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            guard: self.guard.clone(),
            http: receiver_client::new(self.guard.dialer(), Arc::clone(&self.tls), 0),
        };
        let timeout = self.defaults.retry.of(webhook).timeout;
        let never = CancellationToken::new();
        let Made { attempt, .. } = Box::pin(attempter.attempt(webhook, &event, timeout, &never)).await;
        self.recorder.record(attempt.clone()).await;
        Some(attempt)
    }

    fn event(&self, webhook: &Webhook) -> Event {
        let entropy = &*self.entropy;
        let kind = webhook.events.first().copied().unwrap_or(EventType::Created);
        let ids = (EventId::generate(entropy), webhook.team_id);
        let sandbox = SandboxRef {
            id: SandboxId::generate(entropy),
            execution_id: ExecutionId::generate(entropy),
            template_id: TemplateId::generate(entropy),
            build_id: BuildId::generate(entropy),
            metadata: webhook.options.filter.metadata.clone(),
        };
        Event { sequence: 0, draft: EventDraft::example(kind, ids, sandbox, self.clock.now()) }
    }
}
