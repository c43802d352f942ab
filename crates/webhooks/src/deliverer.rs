//! The one task that serves a webhook.
//!
//! ```text
//!  inbox / log ──fill──▶ ┌─────────┐          ┌──────┐
//!  replays ─────────────▶│ Backlog │──start──▶│ Gate │──▶ attempts (≤ window) ──▶ receiver
//!                        │ Watch   │          └──────┘        │
//!    record_deliveries ◀─└─────────┘◀────────settle───────────┴─▶ Recorder
//! ```
//!
//! Ownership: the task owns backlog, gate and watch, its attempts and its idle connections; nothing else writes this
//! webhook's cursor and exceptions. Of everything shared it takes either what needs no waiting or what is handed out
//! in shares: the first attempt in flight needs no permit, further ones take one of the server's connections if its
//! tenant's share allows and otherwise wait for an attempt of their own to end. So a webhook always makes progress,
//! whatever others do.
//!
//! Failures: what the store refuses is tried again a second later; meanwhile at most a bounded number of deliveries
//! goes on. A panic anywhere ends the task and the supervisor starts another from what is stored. A deleted webhook
//! ends it at once.
//!
//! Times: waits, retries and what is late are on a line of time that nobody can set; the store keeps them, and people see
//! them, as the wall clock shows them. A retry that was stored before the wall clock was set, and is read by the next
//! server, is early or late by that. Disabling cancels what is pending: attempts in flight are canceled, what awaited a retry counts as
//! exhausted, and enabling again starts at the end of the log.

use std::sync::Arc;

use sandscope_model::{Entropy, Fact, Steady, TeamId, Timestamp, Webhook, WebhookHealth, WebhookId};
use sandscope_store::{Deliveries, DeliveryProgress, EventLog, StoreError};
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use crate::attempt::{Attempter, after};
use crate::backlog::{Backlog, Progress};
use crate::connections::Connections;
use crate::defaults::Defaults;
use crate::delivery::{Delivery, Ended, STORE_PAUSE};
use crate::gate::Gate;
use crate::health::{News, Watch};
use crate::inbox::{Inbox, Next};
use crate::recorder::Recorder;
use crate::shift::{Books, Recording, Shift, recorded};
use crate::stats::DeliveryStats;

/// How everything is asked to end.
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
    pub(crate) events: EventLog,
    pub(crate) deliveries: Deliveries,
    pub(crate) line: Steady,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) defaults: Arc<Defaults>,
    pub(crate) attempter: Arc<Attempter>,
    pub(crate) recorder: Recorder,
    pub(crate) stats: Arc<DeliveryStats>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) inbox: Arc<Inbox>,
    /// The registration; its sender is dropped when it is deleted.
    pub(crate) config: watch::Receiver<Arc<Webhook>>,
    pub(crate) stop: Stop,
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
                    Some(self.line.clock().sleep(STORE_PAUSE))
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
        // A deliverer that was aborted may have handed in what is not written yet; read beside it, exceptions it had set
        // would never be cleared. What the store refuses is not written later either.
        let _ = self.deliveries.deliveries_recorded().await;
        let Some(cursor) = self.deliveries.cursor(self.id).await? else { return Ok(None) };
        let Some(mut health) = self.deliveries.webhook_health(self.id).await? else { return Ok(None) };
        let mut owed = self.deliveries.owed(self.id).await?;
        self.inbox.missed();
        self.inbox.replays();
        let webhook = self.config.borrow().clone();
        let (limit, ordering) = (self.defaults.window(&webhook), webhook.options.ordering);
        for owed in &mut owed {
            owed.exception.next_due_at = owed.exception.next_due_at.map(|at| self.line.of_label(at));
        }
        health.failing_since = health.failing_since.map(|since| self.line.past(since));
        let backlog = Backlog::new(self.id, limit, ordering, cursor, owed);
        Ok(Some(Books { backlog, watch: Watch::new(health) }))
    }

    /// Cancels what is pending for a disabled webhook. The cursor stays: enabling moves it.
    async fn cancel_owed(&self, books: Books) -> Result<(), StoreError> {
        let Books { mut backlog, mut watch } = books;
        backlog.exhaust_pending();
        let progress = backlog.progress(self.line.now(), false).unwrap_or_default();
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
        let mut shift = Shift::new(books, gate);
        loop {
            let stopping = self.stop.starting.is_cancelled();
            let now = self.line.now();
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
                stored = recorded(&mut shift.recording), if shift.recording.is_some() => self.stored(&mut shift, stored),
                changed = self.config.changed() => match changed {
                    Err(_) => return End::Finished,
                    Ok(()) => {
                        let webhook = self.config.borrow_and_update().clone();
                        if !webhook.enabled {
                            return self.disable(shift).await;
                        }
                        let window = self.defaults.window(&webhook);
                        shift.gate.configure(window, webhook.options.rate_per_second);
                        shift.books.backlog.configure(window, webhook.options.ordering);
                    }
                },
                () = self.inbox.changed(), if !stopping => {}
                () = self.line.sleep_until(wake_at.unwrap_or(Timestamp::MAX)), if wake_at.is_some() => {}
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
        if scanned && let Some(event) = shift.behind(self.defaults.lag_after, now) {
            shift.books.watch.behind(&self.config.borrow(), &event, now, &*self.entropy);
        }
        if shift.recording.is_some() {
            return;
        }
        let progress = shift.books.backlog.progress(now, scanned || stopping);
        let news = shift.books.watch.take();
        if progress.is_none() && news.is_empty() {
            return;
        }
        let has_backlog = progress.is_some();
        let recording = self.record(progress.unwrap_or_default(), news.clone());
        shift.record(recording, has_backlog, news);
    }

    /// Reads events into the backlog until it is full or has them all.
    async fn fill(&self, shift: &mut Shift, now: Timestamp) -> Result<(), StoreError> {
        let config = self.config.borrow().clone();
        let backlog = &mut shift.books.backlog;
        // While nothing gets through there is nobody to make room for.
        if !shift.gate.is_open() {
            backlog.make_room(now);
        }
        while backlog.room() > 0 {
            let room = backlog.room();
            match self.inbox.next(backlog.fetched(), room, || backlog.wants_to_read()) {
                Next::Nothing => break,
                Next::Events(events) => {
                    for event in events {
                        let (since, wanted) = (self.line.past(event.timestamp), config.wants(&event));
                        backlog.offer(event, since, wanted);
                    }
                }
                Next::ReadLog => {
                    let limit = u32::try_from(room).unwrap_or(u32::MAX);
                    let read = self.events.stretch_after(self.team_id, backlog.fetched(), limit).await?;
                    if read.more {
                        self.inbox.missed();
                    }
                    for event in read.events {
                        let (since, wanted) = (self.line.past(event.timestamp), config.wants(&event));
                        backlog.offer(Arc::new(event), since, wanted);
                    }
                }
            }
        }
        if self.inbox.take_replays() {
            shift.replaying.look(&self.deliveries, self.id, backlog).await?;
        }
        shift.replaying.walk(&self.deliveries, &config, backlog, now).await
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
            let Some(job) = shift.books.backlog.next(now) else { return };
            shift.gate.started(now);
            let delivery = Delivery {
                webhook: Arc::clone(&webhook),
                timeout,
                events: self.events.clone(),
                line: self.line.clone(),
                attempter: Arc::clone(&self.attempter),
                recorder: self.recorder.clone(),
                stats: Arc::clone(&self.stats),
                canceled: shift.canceled.clone(),
                _permit: permit,
            };
            shift.attempts.spawn(delivery.make(job));
        }
    }

    /// Whether the attempt ended as attempts do.
    fn settle(&self, shift: &mut Shift, ended: Result<Ended, JoinError>) -> bool {
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!(webhook_id = %self.id, %error, "an attempt broke; starting over from what is stored");
                return false;
            }
        };
        let webhook = self.config.borrow().clone();
        shift.settle(ended, &webhook, &self.defaults, self.line.now(), &*self.entropy);
        true
    }

    fn stored(&self, shift: &mut Shift, stored: Result<(), StoreError>) {
        if let Err(error) = shift.stored(stored, self.line.now()) {
            tracing::warn!(webhook_id = %self.id, %error, "progress of deliveries cannot be stored");
            if self.stop.starting.is_cancelled() {
                self.stop.everything.cancel();
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
        let deliveries = self.deliveries.clone();
        let Progress { cursor, mut set, clear, replays } = progress;
        let News { health, mut notices, disable } = news;
        for exception in &mut set {
            exception.next_due_at = exception.next_due_at.map(|at| self.line.label(at));
        }
        for notice in &mut notices {
            notice.timestamp = self.line.label(notice.timestamp);
            if let Fact::Webhook { notice, .. } = &mut notice.fact {
                notice.failing_since = notice.failing_since.map(|since| self.line.label(since));
            }
        }
        let health = health.map(|health| {
            let failing_since = health.failing_since.map(|since| self.line.label(since));
            WebhookHealth { failing_since, ..health }
        });
        let progress =
            DeliveryProgress { webhook_id: self.id, cursor, set, clear, health, notices, disable, replays };
        Box::pin(async move { deliveries.record_deliveries(progress).await })
    }
}
