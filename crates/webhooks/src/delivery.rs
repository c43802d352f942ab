//! One delivery on its way: from the job to what its end means.

use std::sync::Arc;
use std::time::Duration;

use sandscope_model::{AttemptOutcome, ErrorClass, Event, Steady, Webhook};
use sandscope_store::EventLog;
use tokio_util::sync::CancellationToken;

use crate::attempt::{Attempter, Made, after};
use crate::backlog::{Job, Settled};
use crate::connections::Permit;
use crate::gate::ReceiverState;
use crate::recorder::Recorder;
use crate::stats::DeliveryStats;

/// How long to leave the store alone after it failed.
pub(crate) const STORE_PAUSE: Duration = Duration::from_secs(1);

/// One job on its way, with everything it needs.
pub(crate) struct Delivery {
    pub(crate) webhook: Arc<Webhook>,
    pub(crate) timeout: Duration,
    pub(crate) events: EventLog,
    pub(crate) line: Steady,
    pub(crate) attempter: Arc<Attempter>,
    pub(crate) recorder: Recorder,
    pub(crate) stats: Arc<DeliveryStats>,
    pub(crate) canceled: CancellationToken,
    pub(crate) _permit: Option<Permit>,
}

/// How a job ended, and what that says.
pub(crate) struct Ended {
    pub(crate) job: Job,
    pub(crate) settled: Settled,
    /// About the receiver.
    pub(crate) receiver: ReceiverState,
    /// How long the receiver asked to wait.
    pub(crate) hold: Option<Duration>,
    /// The receiver wants nothing any more.
    pub(crate) gone: bool,
    /// What was attempted.
    pub(crate) event: Option<Arc<Event>>,
}

impl Ended {
    const fn untried(job: Job, settled: Settled) -> Self {
        Self { job, settled, receiver: ReceiverState::Nothing, hold: None, gone: false, event: None }
    }
}

impl Delivery {
    pub(crate) async fn make(self, job: Job) -> Ended {
        let event = match &job.event {
            Some(event) => Arc::clone(event),
            None => match self.events.event(self.webhook.team_id, job.sequence).await {
                Ok(Some(event)) => Arc::new(event),
                // Retention removed it.
                Ok(None) => return Ended::untried(job, Settled::Dropped),
                Err(_) => {
                    let due_at = after(self.line.now(), STORE_PAUSE);
                    return Ended::untried(job, Settled::Postponed(due_at));
                }
            },
        };
        if !self.webhook.wants(&event) {
            return Ended::untried(job, Settled::Dropped);
        }
        let attempting = self.attempter.attempt(&self.webhook, &event, self.timeout, &self.canceled);
        let Made { attempt, hold } = Box::pin(attempting).await;
        self.stats.count(&attempt);
        let status = attempt.response_status;
        let (settled, receiver) = match &attempt.outcome {
            AttemptOutcome::Success | AttemptOutcome::Cut => (Settled::Delivered, ReceiverState::Well),
            AttemptOutcome::Failed { class, .. } => {
                tracing::debug!(
                    webhook_id = %self.webhook.id, event_id = %event.id, class = class.as_str(), "an attempt failed"
                );
                (Settled::Failed, receiver_state(*class, status))
            }
        };
        self.recorder.record(attempt).await;
        Ended { job, settled, receiver, hold, gone: status == Some(410), event: Some(event) }
    }
}

const fn receiver_state(class: ErrorClass, status: Option<u16>) -> ReceiverState {
    match (class, status) {
        (ErrorClass::Timeout, _) | (ErrorClass::HttpError, Some(429 | 502 | 503 | 504)) => {
            ReceiverState::Overloaded
        }
        (ErrorClass::HttpError, Some(500..)) => ReceiverState::Broken,
        (ErrorClass::HttpError, _) => ReceiverState::Unwilling,
        (ErrorClass::DnsError | ErrorClass::TransportError | ErrorClass::RequestError, _) => {
            ReceiverState::Broken
        }
        (ErrorClass::SignatureError | ErrorClass::Canceled | ErrorClass::ResponseTooLarge, _) => {
            ReceiverState::Nothing
        }
    }
}
