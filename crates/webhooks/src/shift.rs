//! One spell of serving a webhook: its books, the gate, the attempts in flight and what is being recorded. Bookkeeping
//! only; the deliverer does the waiting.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sandscope_model::{Entropy, Event, Timestamp, Webhook};
use sandscope_store::StoreError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::attempt::after;
use crate::backlog::{Backlog, Settled};
use crate::defaults::Defaults;
use crate::delivery::{Ended, STORE_PAUSE};
use crate::gate::{Gate, ReceiverState};
use crate::health::{News, Watch};
use crate::replaying::Replaying;

/// Progress on its way into the store.
pub(crate) type Recording = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// What outlives one spell of serving.
pub(crate) struct Books {
    pub(crate) backlog: Backlog,
    pub(crate) watch: Watch,
}

/// What is under way while a webhook is served. Dropping it ends the attempts.
pub(crate) struct Shift {
    pub(crate) books: Books,
    pub(crate) gate: Gate,
    pub(crate) replaying: Replaying,
    pub(crate) attempts: JoinSet<Ended>,
    pub(crate) canceled: CancellationToken,
    pub(crate) recording: Option<Recording>,
    /// Whether what is being recorded has to do with the backlog.
    recorded_backlog: bool,
    /// What is being recorded of the webhook's health.
    news: News,
    /// When the store may be asked again, after it failed.
    pub(crate) store_due_at: Option<Timestamp>,
}

impl Shift {
    pub(crate) fn new(books: Books, gate: Gate) -> Self {
        Self {
            books,
            gate,
            replaying: Replaying::default(),
            attempts: JoinSet::new(),
            canceled: CancellationToken::new(),
            recording: None,
            recorded_backlog: false,
            news: News::default(),
            store_due_at: None,
        }
    }

    /// When there is something to do that nothing else announces. What was due at `now`, when jobs were last started,
    /// waits for something that will.
    pub(crate) fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let retry = self.books.backlog.next_due_at().filter(|at| *at > now);
        let opens_at = self.gate.opens_at(now);
        let replay = self.replaying.next_at(now);
        retry.into_iter().chain(self.store_due_at).chain(opens_at).chain(replay).min()
    }

    /// The oldest event that waits to be delivered, if it has waited for `lag_after` or longer.
    pub(crate) fn behind(&self, lag_after: Duration, now: Timestamp) -> Option<Arc<Event>> {
        let waited = |since| Duration::try_from(now.duration_since(since)).unwrap_or_default();
        let (event, since) = self.books.backlog.oldest()?;
        (waited(since) >= lag_after).then(|| Arc::clone(event))
    }

    /// Enters what an attempt came to: in the gate, the backlog and the webhook's health.
    pub(crate) fn settle(
        &mut self,
        ended: Ended,
        webhook: &Webhook,
        defaults: &Defaults,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) {
        let Ended { job, settled, receiver, hold, gone, event } = ended;
        let policy = defaults.retry.of(webhook);
        self.gate.ended(receiver, hold, now, entropy);
        let exhausted = self.books.backlog.settle(&job, settled, |n_attempts| {
            if gone { None } else { policy.next_due_at(n_attempts, hold, now, entropy) }
        });
        let Some(event) = event else { return };
        let is_behind = self.behind(defaults.lag_after, now).is_some();
        let watch = &mut self.books.watch;
        match settled {
            Settled::Delivered => watch.delivered(webhook, &event, is_behind, now, entropy),
            Settled::Failed if receiver != ReceiverState::Nothing => {
                watch.failed(webhook, &event, defaults.patience(webhook), now, entropy);
                if exhausted {
                    watch.exhausted(webhook, &event, now, entropy);
                }
                if gone {
                    let reason = "the receiver answered 410: it wants no more".to_owned();
                    watch.disable(reason, webhook, &event, now, entropy);
                }
            }
            _ => {}
        }
    }

    /// `recording` begins: of the backlog, where it `has_backlog`, and of `news`.
    pub(crate) fn record(&mut self, recording: Recording, has_backlog: bool, news: News) {
        self.recorded_backlog = has_backlog;
        self.news = news;
        self.recording = Some(recording);
    }

    /// The recording ended. What could not be stored is taken back, and the store is left alone for a while.
    pub(crate) fn stored(
        &mut self,
        stored: Result<(), StoreError>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.recording = None;
        let news = std::mem::take(&mut self.news);
        let of_backlog = std::mem::take(&mut self.recorded_backlog);
        if stored.is_err() {
            if of_backlog {
                self.books.backlog.not_recorded();
            }
            self.books.watch.take_back(news);
            self.store_due_at = Some(after(now, STORE_PAUSE));
        } else if of_backlog {
            self.books.backlog.recorded();
        }
        stored
    }
}

/// How the recording ends; never, if there is none.
pub(crate) async fn recorded(recording: &mut Option<Recording>) -> Result<(), StoreError> {
    match recording {
        Some(recording) => recording.await,
        None => std::future::pending().await,
    }
}
