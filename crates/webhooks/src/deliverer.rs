//! The one task that serves a webhook.
//!
//! ```text
//!  inbox / log ──fill──▶ ┌────────┐          ┌──────┐
//!  replays ─────────────▶│ Ledger │──start──▶│ Gate │──▶ attempts (≤ window) ──▶ receiver
//!                        │ Watch  │          └──────┘        │
//!    record_deliveries ◀─└────────┘◀────────settle───────────┴─▶ Recorder
//! ```
//!
//! Ownership: the task owns ledger, gate and watch, its attempts and its idle connections; nothing else writes this
//! webhook's cursor and exceptions. Of everything shared it takes either what needs no waiting or what is handed out
//! in shares: the first attempt in flight needs no permit, further ones take one of the server's connections if its
//! tenant's share allows and otherwise wait for an attempt of their own to end. So a webhook always makes progress,
//! whatever others do.
//!
//! Failures: what the store refuses is tried again a second later; meanwhile at most a bounded number of deliveries
//! goes on. A panic anywhere ends the task and the supervisor starts another from what is stored. A deleted webhook
//! ends it at once. Disabling cancels what is owed: attempts in flight are canceled, what awaited a retry counts as
//! exhausted, and enabling again starts at the end of the log.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sandscope_model::{Clock, Entropy, Event, TeamId, Timestamp, Webhook, WebhookId};
use sandscope_store::{DeliveryProgress, Store, StoreError};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::attempt::{Attempter, after};
use crate::connections::Connections;
use crate::delivery::{Delivery, Ended};
use crate::gate::{Gate, Verdict};
use crate::health::{News, Watch};
use crate::inbox::{Inbox, Next};
use crate::ledger::{Ledger, Progress, Settled};
use crate::recorder::Recorder;
use crate::replaying::Replaying;
use crate::supervisor::Defaults;

/// How long to leave the store alone after it failed.
pub(crate) const STORE_PAUSE: Duration = Duration::from_secs(1);

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
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) defaults: Arc<Defaults>,
    pub(crate) attempter: Arc<Attempter>,
    pub(crate) recorder: Recorder,
    pub(crate) connections: Arc<Connections>,
    pub(crate) inbox: Arc<Inbox>,
    /// The registration; its sender is dropped when it is deleted.
    pub(crate) config: watch::Receiver<Arc<Webhook>>,
    pub(crate) stop: Stop,
}

/// What outlives one spell of serving.
struct Books {
    ledger: Ledger,
    watch: Watch,
}

/// Why serving ended.
enum End {
    Disabled(Box<Books>),
    Finished,
}

impl Deliverer {
    /// Serves the webhook until it is deleted or everything stops.
    pub(crate) async fn run(mut self) {
        let mut disabled = None;
        while !self.stop.starting.is_cancelled() {
            let enabled = self.config.borrow_and_update().enabled;
            let done = match self.load(disabled.take()).await {
                Ok(Some(books)) if enabled => match self.serve(books).await {
                    End::Disabled(books) => {
                        disabled = Some(*books);
                        Ok(())
                    }
                    End::Finished => return,
                },
                Ok(Some(books)) => self.cancel_owed(books).await,
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

    /// The books as stored; `None` if the webhook is gone.
    async fn load(&self, kept: Option<Books>) -> Result<Option<Books>, StoreError> {
        if kept.is_some() {
            return Ok(kept);
        }
        let Some(cursor) = self.store.cursor(self.id).await? else { return Ok(None) };
        let Some(health) = self.store.webhook_health(self.id).await? else { return Ok(None) };
        let owed = self.store.owed(self.id).await?;
        self.inbox.missed();
        self.inbox.replays();
        let webhook = self.config.borrow().clone();
        let (limit, ordering) = (self.defaults.window(&webhook), webhook.options.ordering);
        let ledger = Ledger::new(self.id, limit, ordering, cursor, owed);
        Ok(Some(Books { ledger, watch: Watch::new(health) }))
    }

    /// Cancels what a disabled webhook was owed. The cursor stays: enabling moves it.
    async fn cancel_owed(&self, books: Books) -> Result<(), StoreError> {
        let Books { mut ledger, mut watch } = books;
        ledger.exhaust_pending();
        let progress = ledger.progress(self.clock.now(), false).unwrap_or_default();
        let news = watch.take();
        if progress == Progress::default() && news.is_empty() {
            return Ok(());
        }
        self.record(Progress { cursor: None, ..progress }, news).await
    }

    async fn serve(&mut self, books: Books) -> End {
        let webhook = self.config.borrow().clone();
        let rate = webhook.options.rate_per_second;
        let gate = Gate::new(self.defaults.window(&webhook), rate, books.watch.is_failing());
        let mut shift = Shift {
            canceled: CancellationToken::new(),
            attempts: JoinSet::new(),
            recording: None,
            recorded_ledger: false,
            news: News::default(),
            store_due_at: None,
            replaying: Replaying::default(),
            gate,
            books,
        };
        loop {
            let stopping = self.stop.starting.is_cancelled();
            let now = self.clock.now();
            if shift.store_due_at.is_none_or(|at| at <= now) {
                shift.store_due_at = None;
                self.use_store(&mut shift, now, stopping).await;
            }
            if !stopping && !shift.books.watch.is_disabling() {
                self.start_due(&mut shift, now);
            } else if stopping && shift.attempts.is_empty() && shift.recording.is_none() {
                return End::Finished;
            }
            let wake_at = shift.wake_at(now);
            let sweep_at = self.attempter.http.close_idle();
            tokio::select! {
                Some(ended) = shift.attempts.join_next() => {
                    if !self.settle(&mut shift, ended) {
                        return End::Finished;
                    }
                }
                stored = stored(&mut shift.recording), if shift.recording.is_some() => self.stored(&mut shift, stored),
                changed = self.config.changed() => match changed {
                    Err(_) => return End::Finished,
                    Ok(()) => {
                        let webhook = self.config.borrow_and_update().clone();
                        if !webhook.enabled {
                            return self.disable(shift).await;
                        }
                        let window = self.defaults.window(&webhook);
                        shift.gate.configure(window, webhook.options.rate_per_second);
                        shift.books.ledger.configure(window, webhook.options.ordering);
                    }
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
        if !stopping && let Err(error) = self.fill(shift, now).await {
            tracing::warn!(webhook_id = %self.id, %error, "the event log cannot be read");
            self.inbox.missed();
            self.inbox.replays();
            shift.store_due_at = Some(after(now, STORE_PAUSE));
        }
        let scanned = self.inbox.take_scanned();
        if scanned && let Some(event) = self.behind(shift, now) {
            shift.books.watch.behind(&self.config.borrow(), &event, now, &*self.entropy);
        }
        if shift.recording.is_some() {
            return;
        }
        let progress = shift.books.ledger.progress(now, scanned || stopping);
        let news = shift.books.watch.take();
        if progress.is_none() && news.is_empty() {
            return;
        }
        shift.recorded_ledger = progress.is_some();
        shift.news = news.clone();
        shift.recording = Some(self.record(progress.unwrap_or_default(), news));
    }

    /// The oldest event that has been owed for long.
    fn behind(&self, shift: &Shift, now: Timestamp) -> Option<Arc<Event>> {
        let since =
            |event: &Event| Duration::try_from(now.duration_since(event.timestamp)).unwrap_or_default();
        shift.books.ledger.oldest().filter(|event| since(event) >= self.defaults.lag_after).cloned()
    }

    /// Reads events into the ledger until it is full or has them all.
    async fn fill(&self, shift: &mut Shift, now: Timestamp) -> Result<(), StoreError> {
        let config = self.config.borrow().clone();
        let ledger = &mut shift.books.ledger;
        // While nothing gets through there is nobody to make room for.
        if !shift.gate.is_open() {
            ledger.make_room(now);
        }
        while ledger.room() > 0 {
            let room = ledger.room();
            match self.inbox.next(ledger.fetched(), room, || ledger.wants_to_read()) {
                Next::Nothing => break,
                Next::Events(events) => {
                    for event in events {
                        let wanted = config.wants(&event);
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
                        let wanted = config.wants(&event);
                        ledger.offer(Arc::new(event), wanted);
                    }
                }
            }
        }
        if self.inbox.take_replays() {
            shift.replaying.look(&self.store, self.id, ledger).await?;
        }
        shift.replaying.walk(&self.store, &config, ledger, now).await
    }

    fn start_due(&self, shift: &mut Shift, now: Timestamp) {
        let webhook = self.config.borrow().clone();
        let timeout = self.defaults.retry.of(&webhook).timeout;
        while shift.gate.admits(now, shift.attempts.len()) {
            let permit = match shift.attempts.is_empty() {
                true => None,
                false => match self.connections.take(self.team_id) {
                    Some(permit) => Some(permit),
                    None => return,
                },
            };
            let Some(job) = shift.books.ledger.next(now) else { return };
            shift.gate.started(now);
            let delivery = Delivery {
                webhook: Arc::clone(&webhook),
                timeout,
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
    fn settle(&self, shift: &mut Shift, ended: Result<Ended, JoinError>) -> bool {
        let Ended { job, settled, verdict, hold, gone, event } = match ended {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!(webhook_id = %self.id, %error, "an attempt broke; starting over from what is stored");
                return false;
            }
        };
        let now = self.clock.now();
        let webhook = self.config.borrow().clone();
        let policy = self.defaults.retry.of(&webhook);
        let entropy = &*self.entropy;
        shift.gate.ended(verdict, hold, now, entropy);
        let exhausted = shift.books.ledger.settle(&job, settled, |n_attempts| {
            if gone { None } else { policy.next_due_at(n_attempts, hold, now, entropy) }
        });
        let Some(event) = event else { return true };
        let is_behind = self.behind(shift, now).is_some();
        let watch = &mut shift.books.watch;
        match settled {
            Settled::Delivered => watch.delivered(&webhook, &event, is_behind, now, entropy),
            Settled::Failed if verdict != Verdict::Nothing => {
                watch.failed(&webhook, &event, self.defaults.patience(&webhook), now, entropy);
                if exhausted {
                    watch.exhausted(&webhook, &event, now, entropy);
                }
                if gone {
                    let reason = "the receiver answered 410: it wants no more".to_owned();
                    watch.disable(reason, &webhook, &event, now, entropy);
                }
            }
            _ => {}
        }
        true
    }

    fn stored(&self, shift: &mut Shift, stored: Result<(), StoreError>) {
        shift.recording = None;
        let news = std::mem::take(&mut shift.news);
        let of_ledger = std::mem::take(&mut shift.recorded_ledger);
        match stored {
            Ok(()) if of_ledger => shift.books.ledger.recorded(),
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(webhook_id = %self.id, %error, "progress of deliveries cannot be stored");
                if of_ledger {
                    shift.books.ledger.not_recorded();
                }
                shift.books.watch.take_back(news);
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
            self.settle(&mut shift, ended);
        }
        if let Some(recording) = shift.recording.take() {
            let stored = recording.await;
            self.stored(&mut shift, stored);
        }
        End::Disabled(Box::new(shift.books))
    }

    fn record(&self, progress: Progress, news: News) -> Recording {
        let store = self.store.clone();
        let Progress { cursor, set, clear, replays } = progress;
        let News { health, notices, disable } = news;
        let progress =
            DeliveryProgress { webhook_id: self.id, cursor, set, clear, health, notices, disable, replays };
        Box::pin(async move { store.record_deliveries(progress).await })
    }
}

/// What is under way while a webhook is served. Dropping it ends the attempts.
struct Shift {
    books: Books,
    gate: Gate,
    replaying: Replaying,
    attempts: JoinSet<Ended>,
    canceled: CancellationToken,
    recording: Option<Recording>,
    /// Whether what is being recorded has to do with the ledger.
    recorded_ledger: bool,
    /// What is being recorded of the webhook's health.
    news: News,
    /// When the store may be asked again, after it failed.
    store_due_at: Option<Timestamp>,
}

impl Shift {
    /// When there is something to do that nothing else announces. What was due at `now`, when jobs were last started,
    /// waits for something that will.
    fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let retry = self.books.ledger.next_due_at().filter(|at| *at > now);
        let opens_at = self.gate.opens_at(now);
        let replay = self.replaying.next_at(now);
        retry.into_iter().chain(self.store_due_at).chain(opens_at).chain(replay).min()
    }
}

async fn stored(recording: &mut Option<Recording>) -> Result<(), StoreError> {
    match recording {
        Some(recording) => recording.await,
        None => std::future::pending().await,
    }
}
