use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sandscope_model::Event;
use tokio::sync::Notify;

/// Events an inbox holds for a webhook that has no room for them yet.
const CAPACITY: usize = 64;

/// Where a webhook receives its team's new events. It holds a bounded run of the newest and never blocks the code that
/// puts them in; whatever does not fit, or was missed, is read from the log instead.
pub(crate) struct Inbox {
    inner: Mutex<Inner>,
    changed: Notify,
}

struct Inner {
    /// In order, and without gaps.
    queue: VecDeque<Arc<Event>>,
    /// The log may have events that are neither here nor taken.
    behind: bool,
    /// The last event taken from here or from the log.
    taken: u64,
    /// A scan went by since it was last asked.
    scanned: bool,
    /// Replays have begun or ended since it was last asked.
    replays: bool,
}

/// What comes next for a webhook.
pub(crate) enum Next {
    /// These events follow.
    Events(Vec<Arc<Event>>),
    /// The log has to be read.
    ReadLog,
    /// No event yet.
    Nothing,
}

impl Inbox {
    /// An inbox whose owner has yet to read the log.
    pub(crate) fn new() -> Self {
        let inner = Inner { queue: VecDeque::new(), behind: true, taken: 0, scanned: false, replays: true };
        Self { inner: Mutex::new(inner), changed: Notify::new() }
    }

    /// Puts in a new event.
    pub(crate) fn push(&self, event: &Arc<Event>) {
        let mut inner = self.lock();
        let follows = inner.queue.back().is_none_or(|last| last.sequence + 1 == event.sequence);
        if inner.queue.len() < CAPACITY && follows {
            inner.queue.push_back(Arc::clone(event));
        } else {
            inner.behind = true;
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Says that events may have been missed.
    pub(crate) fn missed(&self) {
        self.lock().behind = true;
        self.changed.notify_one();
    }

    /// Says that the log goes up to `last`, on the occasion of a scan.
    pub(crate) fn scan(&self, last: u64) {
        let mut inner = self.lock();
        inner.behind |= last > inner.taken;
        inner.scanned = true;
        drop(inner);
        self.changed.notify_one();
    }

    /// Says that replays have begun, ended or been canceled.
    pub(crate) fn replays(&self) {
        self.lock().replays = true;
        self.changed.notify_one();
    }

    /// Whether replays have to be looked at.
    pub(crate) fn take_replays(&self) -> bool {
        std::mem::take(&mut self.lock().replays)
    }

    /// Completes when anything was put in or said since the last time.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether a scan went by since the last call.
    pub(crate) fn take_scanned(&self) -> bool {
        std::mem::take(&mut self.lock().scanned)
    }

    /// What follows event number `fetched`, at most `room` events. [`Next::ReadLog`] is said once for each reason, and
    /// only to a caller that may read: one that could not read the whole rest of the log has to say
    /// [`missed`](Self::missed).
    pub(crate) fn next(&self, fetched: u64, room: usize, may_read: impl FnOnce() -> bool) -> Next {
        let mut inner = self.lock();
        inner.taken = fetched;
        while inner.queue.front().is_some_and(|event| event.sequence <= fetched) {
            inner.queue.pop_front();
        }
        if inner.queue.front().is_some_and(|event| event.sequence == fetched + 1) {
            let n = room.min(inner.queue.len());
            let events: Vec<_> = inner.queue.drain(..n).collect();
            inner.taken = events.last().map_or(fetched, |event| event.sequence);
            return Next::Events(events);
        }
        let is_behind = inner.behind || !inner.queue.is_empty();
        if !is_behind || !may_read() {
            return Next::Nothing;
        }
        inner.behind = false;
        Next::ReadLog
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
