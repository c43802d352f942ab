use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use sandscope_model::{BootId, Clock, Sleep, Stamp, Timestamp, Uptime};
use tokio::sync::{oneshot, watch};

/// A clock that moves only when a test moves it.
///
/// Clones share the same time.
///
/// ```
/// # use std::time::Duration;
/// # use sandscope_model::Clock;
/// # use sandscope_testbed::StepClock;
/// let clock = StepClock::new();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now().duration_since(before).as_secs(), 60);
/// ```
#[derive(Debug, Clone)]
pub struct StepClock {
    inner: Arc<Mutex<Inner>>,
    n_sleepers: watch::Sender<usize>,
}

#[derive(Debug)]
struct Inner {
    now: Timestamp,
    uptime: Uptime,
    boot: BootId,
    next_ticket: u64,
    /// Who sleeps, by when they want to be woken; the ticket keeps equal times apart.
    sleepers: BTreeMap<(Uptime, u64), oneshot::Sender<()>>,
}

/// How long the host has been up when a clock begins.
const UPTIME: Duration = Duration::from_secs(100_000);

impl StepClock {
    /// A clock that shows 2026-01-01T00:00:00Z.
    pub fn new() -> Self {
        Self::at(Timestamp::constant(1_767_225_600, 0))
    }

    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        let (uptime, boot) = (Uptime::new(UPTIME), BootId::from(uuid::Uuid::from_u128(1)));
        let inner = Inner { now, uptime, boot, next_ticket: 0, sleepers: BTreeMap::new() };
        Self { inner: Arc::new(Mutex::new(inner)), n_sleepers: watch::Sender::new(0) }
    }

    /// Lets time pass and wakes everybody whose time has come. A host that was suspended meanwhile looks the same.
    pub fn advance(&self, by: Duration) {
        let due = {
            let mut inner = self.lock();
            inner.now = inner.now.checked_add(by).unwrap_or(Timestamp::MAX);
            inner.uptime = inner.uptime.after(by);
            let now = inner.uptime;
            let later = inner.sleepers.split_off(&(now, u64::MAX));
            std::mem::replace(&mut inner.sleepers, later)
        };
        for (_, wake) in due {
            // A sleeper that was dropped meanwhile needs no waking.
            let _ = wake.send(());
        }
        self.count();
    }

    /// Lets time pass up to `to`, which lies ahead on the wall clock.
    pub fn advance_to(&self, to: Timestamp) {
        let ahead = to.duration_since(self.now());
        self.advance(ahead.try_into().unwrap_or_default());
    }

    /// Somebody sets the wall clock, forward or back: no time passes, and nobody wakes.
    pub fn step_wall(&self, by: SignedDuration) {
        let mut inner = self.lock();
        inner.now = inner.now.checked_add(by).unwrap_or(inner.now);
    }

    /// The host has been restarted: its uptime begins anew.
    pub fn reboot(&self) {
        let mut inner = self.lock();
        inner.uptime = Uptime::ZERO;
        inner.boot = BootId::from(uuid::Uuid::from_u128(2));
    }

    /// The earliest time somebody waits for, as the wall clock will show it.
    pub fn next_due(&self) -> Option<Timestamp> {
        let inner = self.lock();
        let stamp = Stamp { at: inner.now, boot: inner.boot, uptime: inner.uptime };
        inner.sleepers.keys().next().map(|(at, _)| stamp.label(*at))
    }

    /// How many sleeps are under way.
    pub fn n_sleepers(&self) -> usize {
        self.lock().sleepers.len()
    }

    /// Completes once at least `n` sleeps are under way: every task that was to fall asleep has done so.
    pub async fn wait_for_sleepers(&self, n: usize) {
        let mut watched = self.n_sleepers.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = watched.wait_for(|count| *count >= n).await;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) {
        // Counted under the watch's lock: of two concurrent counts the later one wins.
        self.n_sleepers.send_modify(|count| *count = self.n_sleepers());
    }
}

impl Default for StepClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for StepClock {
    fn wall(&self) -> Timestamp {
        self.lock().now
    }

    fn uptime(&self) -> Uptime {
        self.lock().uptime
    }

    fn boot(&self) -> BootId {
        self.lock().boot
    }

    fn sleep_until(&self, at: Uptime) -> Sleep {
        let registered = {
            let mut inner = self.lock();
            if inner.uptime >= at {
                None
            } else {
                let ticket = inner.next_ticket;
                inner.next_ticket += 1;
                let (wake, woken) = oneshot::channel();
                inner.sleepers.insert((at, ticket), wake);
                Some((woken, Bed { clock: self.clone(), key: (at, ticket) }))
            }
        };
        self.count();
        Box::pin(async move {
            if let Some((woken, _bed)) = registered {
                let _ = woken.await;
            }
        })
    }
}

/// Takes a sleeper off the list when its future is dropped.
struct Bed {
    clock: StepClock,
    key: (Uptime, u64),
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.clock.lock().sleepers.remove(&self.key);
        self.clock.count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_when_its_time_has_come_and_not_before() {
        let clock = StepClock::new();
        let sleeper = tokio::spawn(clock.sleep(Duration::from_secs(10)));
        clock.wait_for_sleepers(1).await;
        clock.advance(Duration::from_millis(9_999));
        assert_eq!(clock.n_sleepers(), 1);
        clock.advance(Duration::from_millis(1));
        sleeper.await.unwrap();
        assert_eq!(clock.n_sleepers(), 0);
    }

    #[tokio::test]
    async fn a_dropped_sleep_is_forgotten_and_a_past_one_completes_at_once() {
        let clock = StepClock::new();
        drop(clock.sleep(Duration::from_secs(1)));
        assert_eq!(clock.next_due(), None);
        clock.sleep_until(clock.uptime()).await;
    }

    #[tokio::test]
    async fn setting_the_wall_clock_wakes_nobody_and_keeps_nobody_asleep() {
        let clock = StepClock::new();
        let sleeper = tokio::spawn(clock.sleep(Duration::from_secs(10)));
        clock.wait_for_sleepers(1).await;
        clock.step_wall(SignedDuration::from_hours(2));
        assert_eq!(clock.n_sleepers(), 1);
        clock.step_wall(SignedDuration::from_hours(-3));
        clock.advance(Duration::from_secs(10));
        sleeper.await.unwrap();
    }
}
