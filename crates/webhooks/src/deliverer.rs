//! The one task that serves a webhook.
//!
//! ```text
//!  inbox / log ──fill──▶ ┌────────┐ ──start──▶ attempts (≤ window) ──▶ receiver
//!                        │ Ledger │ ◀─settle──     │
//!    record_deliveries ◀─└────────┘                └─▶ Recorder
//! ```
//!
//! Ownership: the task owns the ledger, its attempts and its idle connections; nothing else writes this webhook's
//! cursor and exceptions. Of everything shared it takes either what needs no waiting or what is handed out in turn:
//! the first attempt in flight needs no permit, further ones take one of the server's connection permits if there is
//! one and otherwise wait for an attempt of their own to end. So a webhook always makes progress, whatever others do.
//!
//! Failures: what the store refuses is tried again a second later; meanwhile at most a bounded number of deliveries
//! goes on. A panic anywhere ends the task and the supervisor starts another from what is stored. A deleted webhook
//! ends it at once. Disabling cancels what is owed: attempts in flight are canceled, what awaited a retry counts as
//! exhausted, and enabling again starts at the end of the log.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sandscope_model::{AttemptOutcome, Clock, Event, TeamId, Timestamp, Webhook, WebhookId};
use sandscope_store::{DeliveryProgress, Store, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::attempt::{Attempter, after};
use crate::inbox::{Inbox, Next};
use crate::ledger::{Job, Ledger, Progress, Settled};
use crate::policy::RetryPolicy;
use crate::recorder::Recorder;

/// How long to leave the store alone after it failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

type Recording = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// How everything is told to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// Start nothing new.
    pub(crate) starting: CancellationToken,
    /// Give up what is in flight.
    pub(crate) everything: CancellationToken,
}

pub(crate) struct Deliverer {
    pub(crate) id: WebhookId,
    pub(crate) team_id: TeamId,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) policy: RetryPolicy,
    pub(crate) window: usize,
    pub(crate) attempter: Arc<Attempter>,
    pub(crate) recorder: Recorder,
    /// The server's permits for connections beyond each webhook's first.
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) inbox: Arc<Inbox>,
    /// The registration; its sender is dropped when it is deleted.
    pub(crate) config: watch::Receiver<Arc<Webhook>>,
    pub(crate) stop: Stop,
}

/// Why serving ended.
enum End {
    Disabled(Box<Ledger>),
    Finished,
}

impl Deliverer {
    /// Serves the webhook until it is deleted or everything stops.
    pub(crate) async fn run(mut self) {
        let mut disabled = None;
        while !self.stop.starting.is_cancelled() {
            let enabled = self.config.borrow_and_update().enabled;
            let done = match self.load(disabled.take()).await {
                Ok(Some(ledger)) if enabled => match self.serve(ledger).await {
                    End::Disabled(ledger) => {
                        disabled = Some(*ledger);
                        Ok(())
                    }
                    End::Finished => return,
                },
                Ok(Some(ledger)) => self.cancel_owed(ledger).await,
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            let wait = match done {
                Ok(()) if disabled.is_some() => continue,
                Ok(()) => None,
                Err(error) => {
                    tracing::warn!(webhook_id = %self.id, %error, "the webhook's deliveries wait for the store");
                    Some(self.clock.sleep(STORE_PAUSE))
                }
            };
            let paused = wait.is_some();
            tokio::select! {
                changed = self.config.changed() => if changed.is_err() { return },
                () = async { if let Some(wait) = wait { wait.await } }, if paused => {}
                () = self.stop.starting.cancelled() => return,
            }
        }
    }

    /// The ledger as stored; `None` if the webhook is gone.
    async fn load(&self, kept: Option<Ledger>) -> Result<Option<Ledger>, StoreError> {
        if kept.is_some() {
            return Ok(kept);
        }
        let Some(cursor) = self.store.cursor(self.id).await? else { return Ok(None) };
        let exceptions = self.store.exceptions(self.id).await?;
        self.inbox.missed();
        Ok(Some(Ledger::new(self.id, self.window, cursor, exceptions)))
    }

    /// Cancels what a disabled webhook was owed. The cursor stays: enabling moves it.
    async fn cancel_owed(&self, mut ledger: Ledger) -> Result<(), StoreError> {
        ledger.exhaust_pending();
        match ledger.progress(self.clock.now(), false) {
            Some(progress) => self.record(Progress { cursor: None, ..progress }).await,
            None => Ok(()),
        }
    }

    async fn serve(&mut self, ledger: Ledger) -> End {
        let mut shift = Shift {
            canceled: CancellationToken::new(),
            attempts: JoinSet::new(),
            recording: None,
            store_due_at: None,
            ledger,
        };
        loop {
            let stopping = self.stop.starting.is_cancelled();
            let now = self.clock.now();
            if shift.store_due_at.is_none_or(|at| at <= now) {
                shift.store_due_at = None;
                self.use_store(&mut shift, now, stopping).await;
            }
            if !stopping {
                self.start_due(&mut shift, now);
            } else if shift.attempts.is_empty() && shift.recording.is_none() {
                return End::Finished;
            }
            let wake_at = shift.wake_at(now);
            let sweep_at = self.attempter.exchanger.pool().sweep();
            tokio::select! {
                Some(ended) = shift.attempts.join_next() => {
                    if !self.settle(&mut shift.ledger, ended) {
                        return End::Finished;
                    }
                }
                stored = stored(&mut shift.recording), if shift.recording.is_some() => self.stored(&mut shift, stored),
                changed = self.config.changed() => match changed {
                    Err(_) => return End::Finished,
                    Ok(()) if self.config.borrow().enabled => {}
                    Ok(()) => return self.disable(shift).await,
                },
                () = self.inbox.changed(), if !stopping => {}
                () = self.clock.sleep_until(wake_at.unwrap_or(Timestamp::MAX)), if wake_at.is_some() => {}
                () = tokio::time::sleep_until(sweep_at.unwrap_or_else(tokio::time::Instant::now)), if sweep_at.is_some() => {}
                () = self.stop.starting.cancelled(), if !stopping => {}
                () = self.stop.everything.cancelled() => return End::Finished,
            }
        }
    }

    /// Reads what there is room for and stores what there is to store.
    async fn use_store(&self, shift: &mut Shift, now: Timestamp, stopping: bool) {
        if !stopping && let Err(error) = self.fill(&mut shift.ledger).await {
            tracing::warn!(webhook_id = %self.id, %error, "the event log cannot be read");
            self.inbox.missed();
            shift.store_due_at = Some(after(now, STORE_PAUSE));
        }
        let idle = self.inbox.take_scanned() || stopping;
        if shift.recording.is_none()
            && let Some(progress) = shift.ledger.progress(now, idle)
        {
            shift.recording = Some(self.record(progress));
        }
    }

    /// Reads events into the ledger until it is full or has them all.
    async fn fill(&self, ledger: &mut Ledger) -> Result<(), StoreError> {
        let config = self.config.borrow().clone();
        let wanted = |event: &Event| config.events.contains(&event.event_type);
        while ledger.room() > 0 {
            let room = ledger.room();
            match self.inbox.next(ledger.fetched(), room) {
                Next::Nothing => break,
                Next::Events(events) => {
                    for event in events {
                        let wanted = wanted(&event);
                        ledger.offer(event, wanted);
                    }
                }
                Next::ReadLog => {
                    let limit = u32::try_from(room).unwrap_or(u32::MAX);
                    let page = self.store.events_after(self.team_id, ledger.fetched(), limit).await?;
                    if page.len() >= room {
                        self.inbox.missed();
                    }
                    for event in page {
                        let wanted = wanted(&event);
                        ledger.offer(Arc::new(event), wanted);
                    }
                }
            }
        }
        Ok(())
    }

    fn start_due(&self, shift: &mut Shift, now: Timestamp) {
        loop {
            let permit = match shift.attempts.is_empty() {
                true => None,
                false => match Arc::clone(&self.connections).try_acquire_owned() {
                    Ok(permit) => Some(permit),
                    Err(_) => return,
                },
            };
            let Some(job) = shift.ledger.next(now) else { return };
            let delivery = Delivery {
                webhook: self.config.borrow().clone(),
                store: self.store.clone(),
                clock: Arc::clone(&self.clock),
                attempter: Arc::clone(&self.attempter),
                recorder: self.recorder.clone(),
                canceled: shift.canceled.clone(),
                _permit: permit,
            };
            shift.attempts.spawn(delivery.make(job));
        }
    }

    /// Whether the attempt ended as attempts do.
    fn settle(&self, ledger: &mut Ledger, ended: Result<(Job, Settled), JoinError>) -> bool {
        match ended {
            Ok((job, settled)) => {
                ledger.settle(&job, settled, self.clock.now(), &self.policy);
                true
            }
            Err(error) => {
                tracing::error!(webhook_id = %self.id, %error, "an attempt broke; starting over from what is stored");
                false
            }
        }
    }

    fn stored(&self, shift: &mut Shift, stored: Result<(), StoreError>) {
        shift.recording = None;
        match stored {
            Ok(()) => shift.ledger.recorded(),
            Err(error) => {
                tracing::warn!(webhook_id = %self.id, %error, "progress of deliveries cannot be stored");
                shift.ledger.not_recorded();
                shift.store_due_at = Some(after(self.clock.now(), STORE_PAUSE));
                if self.stop.starting.is_cancelled() {
                    self.stop.everything.cancel();
                }
            }
        }
    }

    async fn disable(&self, mut shift: Shift) -> End {
        shift.canceled.cancel();
        while let Some(ended) = shift.attempts.join_next().await {
            self.settle(&mut shift.ledger, ended);
        }
        if let Some(recording) = shift.recording.take() {
            let stored = recording.await;
            self.stored(&mut shift, stored);
        }
        End::Disabled(Box::new(shift.ledger))
    }

    fn record(&self, progress: Progress) -> Recording {
        let store = self.store.clone();
        let Progress { cursor, set, clear } = progress;
        let progress = DeliveryProgress { webhook_id: self.id, cursor, set, clear };
        Box::pin(async move { store.record_deliveries(progress).await })
    }
}

/// What is under way while a webhook is served. Dropping it ends the attempts.
struct Shift {
    ledger: Ledger,
    attempts: JoinSet<(Job, Settled)>,
    canceled: CancellationToken,
    recording: Option<Recording>,
    /// When the store may be asked again, after it failed.
    store_due_at: Option<Timestamp>,
}

impl Shift {
    /// When there is something to do that nothing else announces. What was due at `now`, when jobs were last started,
    /// waits for something that will.
    fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let retry = self.ledger.next_due_at().filter(|at| *at > now);
        retry.into_iter().chain(self.store_due_at).min()
    }
}

async fn stored(recording: &mut Option<Recording>) -> Result<(), StoreError> {
    match recording {
        Some(recording) => recording.await,
        None => std::future::pending().await,
    }
}

/// One job on its way, with everything it needs.
struct Delivery {
    webhook: Arc<Webhook>,
    store: Store,
    clock: Arc<dyn Clock>,
    attempter: Arc<Attempter>,
    recorder: Recorder,
    canceled: CancellationToken,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Delivery {
    async fn make(self, job: Job) -> (Job, Settled) {
        let settled = self.try_once(&job).await;
        (job, settled)
    }

    async fn try_once(&self, job: &Job) -> Settled {
        let event = match &job.event {
            Some(event) => Arc::clone(event),
            None => match self.store.event(self.webhook.team_id, job.sequence).await {
                Ok(Some(event)) => Arc::new(event),
                // Retention removed it.
                Ok(None) => return Settled::Dropped,
                Err(_) => return Settled::Postponed(after(self.clock.now(), STORE_PAUSE)),
            },
        };
        if !self.webhook.events.contains(&event.event_type) {
            return Settled::Dropped;
        }
        let attempt = Box::pin(self.attempter.attempt(&self.webhook, &event, &self.canceled)).await;
        let settled = match &attempt.outcome {
            AttemptOutcome::Success => Settled::Delivered,
            AttemptOutcome::Failed { class, .. } => {
                tracing::debug!(
                    webhook_id = %self.webhook.id, event_id = %event.id, class = class.as_str(), "an attempt failed"
                );
                Settled::Failed
            }
        };
        self.recorder.record(attempt).await;
        settled
    }
}
