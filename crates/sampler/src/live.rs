//! The last few minutes in memory, a second apart, and whoever follows them.
//!
//! ```text
//!   sampler ── every second ──► publish(round) ──┬──► ring of each sandbox: 5 minutes      Live::recent
//!                                                └──► broadcast of the round               Live::follow
//! ```
//!
//! Ownership: the sampler writes, everybody else reads; a [`Live`] is a handle. Nothing waits for a reader: one that
//! falls behind the broadcast by more than [`ROUNDS`] rounds is notified and goes on with the newest.
//!
//! Bounds: a ring takes 22 KB; a sandbox that no longer runs keeps its ring until it is gone for [`KEPT`] rounds'
//! time, so that the seconds before its end can still be seen.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sandscope_model::{
    MetricField as F, MetricKind, Pressures, Sample, SandboxId, TeamId, Timestamp, Uptime, Values,
};
use tokio::sync::broadcast;

/// Seconds kept of each sandbox.
pub const KEPT: usize = 300;
/// How long a ring is kept in which nothing comes any more.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// Rounds kept for a follower that is behind.
const ROUNDS: usize = 16;

/// One sandbox in one second.
#[derive(Debug, Clone, PartialEq)]
pub struct LivePoint {
    /// Whose it is.
    pub team_id: TeamId,
    /// The usual numbers, over the last second.
    pub sample: Sample,
    /// Totals so far and levels of what is not read every second, as of when they were last read; by field, as the
    /// engine reads them.
    pub totals: Values,
    /// Stalls; read only while somebody follows.
    pub pressures: Option<Pressures>,
}

/// All sandboxes that run, in one second.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveRound {
    /// When the round was read, by the wall clock.
    pub at: Timestamp,
    /// The same by the host's uptime.
    pub uptime: Uptime,
    /// One point each.
    pub points: Vec<LivePoint>,
}

/// The last minutes of every sandbox. Clones share them.
#[derive(Debug, Clone)]
pub struct Live {
    rings: Arc<Mutex<HashMap<SandboxId, Ring>>>,
    rounds: broadcast::Sender<Arc<LiveRound>>,
    /// Receivers of the server's own, which need no stalls.
    n_own: Arc<AtomicUsize>,
}

/// A task of the server that takes every round.
#[derive(Debug)]
pub struct Listener {
    rounds: broadcast::Receiver<Arc<LiveRound>>,
    n_own: Arc<AtomicUsize>,
}

impl Listener {
    /// The next round. A call that is dropped loses nothing.
    ///
    /// # Errors
    /// [`RecvError::Lagged`](broadcast::error::RecvError::Lagged) if it was too slow for some rounds, and
    /// [`RecvError::Closed`](broadcast::error::RecvError::Closed) once there will be no more.
    pub async fn recv(&mut self) -> Result<Arc<LiveRound>, broadcast::error::RecvError> {
        self.rounds.recv().await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.n_own.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What differs from second to second; the rest is the sandbox's.
#[derive(Debug, Clone, Copy)]
struct Second {
    at: Timestamp,
    /// Of [`IN_RING`], each.
    numbers: [Option<u64>; IN_RING.len()],
}

/// Fields kept of every second. Others would make the rings many times as large; limits are the newest second's.
const IN_RING: [F; 4] = [F::CpuUsed, F::MemUsed, F::MemCache, F::DiskUsed];

#[derive(Debug)]
struct Ring {
    seconds: VecDeque<Second>,
    newest: LivePoint,
    read_at: Uptime,
}

impl Default for Live {
    fn default() -> Self {
        Self { rings: Arc::default(), rounds: broadcast::Sender::new(ROUNDS), n_own: Arc::default() }
    }
}

impl Live {
    fn rings(&self) -> MutexGuard<'_, HashMap<SandboxId, Ring>> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest point of every sandbox that has run lately; as of `now`, whose is older than `max_age` is left out.
    pub fn newest(&self, now: Uptime, max_age: Duration) -> Vec<LivePoint> {
        let is_new = |ring: &&Ring| now.since(ring.read_at) < max_age + Duration::from_secs(1);
        self.rings().values().filter(is_new).map(|ring| ring.newest.clone()).collect()
    }

    /// The sandbox's last seconds, oldest first, `n` at most. Seconds in which it did not run are not there.
    pub fn recent(&self, id: &SandboxId, n: usize) -> Vec<Sample> {
        let rings = self.rings();
        let Some(ring) = rings.get(id) else { return Vec::new() };
        let newest = &ring.newest.sample;
        let limits = newest.values.iter().filter(|(field, _)| field.kind() == MetricKind::Limit);
        let limits: Values = limits.collect();
        let sample = |second: &Second| {
            let numbers = IN_RING.iter().zip(second.numbers);
            let values = numbers.fold(limits, |values, (field, number)| values.with(*field, number));
            Sample { sandbox_id: newest.sandbox_id.clone(), at: second.at, values }
        };
        let skipped = ring.seconds.len().saturating_sub(n);
        ring.seconds.iter().skip(skipped).map(sample).collect()
    }

    /// Every round from now on.
    pub fn follow(&self) -> broadcast::Receiver<Arc<LiveRound>> {
        self.rounds.subscribe()
    }

    /// The same for a task of the server, which needs no stalls: nobody counts as following for its sake.
    pub fn listen(&self) -> Listener {
        self.n_own.fetch_add(1, Ordering::Relaxed);
        Listener { rounds: self.rounds.subscribe(), n_own: Arc::clone(&self.n_own) }
    }

    /// Whether anybody follows.
    pub fn is_followed(&self) -> bool {
        self.rounds.receiver_count() > self.n_own.load(Ordering::Relaxed)
    }

    /// Takes a round.
    pub fn publish(&self, round: LiveRound) {
        {
            let mut rings = self.rings();
            for point in &round.points {
                let ring = rings.entry(point.sample.sandbox_id.clone()).or_insert_with(|| Ring {
                    seconds: VecDeque::new(),
                    newest: point.clone(),
                    read_at: round.uptime,
                });
                if ring.seconds.len() == KEPT {
                    ring.seconds.pop_front();
                }
                let numbers = IN_RING.map(|field| point.sample.get(field));
                ring.seconds.push_back(Second { at: point.sample.at, numbers });
                let totals = if point.totals.is_empty() { ring.newest.totals } else { point.totals };
                ring.newest = LivePoint { totals, ..point.clone() };
                ring.read_at = round.uptime;
            }
            rings.retain(|_, ring| round.uptime.since(ring.read_at) <= KEPT_FOR);
        }
        // Nobody may be following.
        let _ = self.rounds.send(Arc::new(round));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn up(second: u64) -> Uptime {
        Uptime::new(Duration::from_secs(second))
    }

    fn round(second: i64, points: Vec<LivePoint>) -> LiveRound {
        LiveRound { at: at(second), uptime: up(second.unsigned_abs()), points }
    }

    fn point(id: u32, second: i64, cpu: u64) -> LivePoint {
        let sample = Sample {
            sandbox_id: format!("i{id:020}").parse().unwrap(),
            at: at(second),
            values: Values::NONE.with(F::CpuUsed, cpu).with(F::CpuCount, 1).with(F::Processes, 2),
        };
        LivePoint { team_id: uuid_of(1), sample, totals: Values::NONE, pressures: None }
    }

    fn uuid_of(n: u8) -> TeamId {
        format!("00000000-0000-4000-8000-0000000000{n:02}").parse().unwrap()
    }

    fn id(n: u32) -> SandboxId {
        format!("i{n:020}").parse().unwrap()
    }

    #[test]
    fn a_ring_keeps_the_last_minutes_and_goes_when_they_are_over() {
        let live = Live::default();
        for second in 0..400 {
            live.publish(round(second, vec![point(1, second, 1_234)]));
        }
        let kept = live.recent(&id(1), usize::MAX);
        assert_eq!((kept.len(), kept[0].at, kept[299].at), (KEPT, at(100), at(399)));
        assert_eq!(kept[0].values, Values::NONE.with(F::CpuUsed, 1_234).with(F::CpuCount, 1));
        assert_eq!(live.recent(&id(1), 2).len(), 2);
        assert_eq!(live.newest(up(402), Duration::from_secs(2)).len(), 0);
        assert_eq!(live.newest(up(401), Duration::from_secs(2)).len(), 1);
        live.publish(round(699, vec![point(2, 699, 100)]));
        assert_eq!(live.recent(&id(1), 1).len(), 1);
        live.publish(round(700, Vec::new()));
        assert!(live.recent(&id(1), 1).is_empty());
    }

    #[test]
    fn what_is_new_and_what_is_kept_goes_by_the_time_that_passed() {
        let live = Live::default();
        live.publish(round(4_000, vec![point(1, 4_000, 1), point(2, 4_000, 1)]));
        // The wall clock is set back by an hour; the second sandbox ends.
        let set_back = |second: i64, points| LiveRound { at: at(second - 3_600), ..round(second, points) };
        live.publish(set_back(4_001, vec![point(1, 401, 1)]));
        live.publish(set_back(4_003, vec![point(1, 403, 1)]));
        let newest = live.newest(up(4_003), Duration::from_secs(2));
        assert_eq!(newest.iter().map(|point| point.sample.at).collect::<Vec<_>>(), [at(403)]);
        assert_eq!(live.recent(&id(1), 9).len(), 3);
        live.publish(set_back(4_300, vec![point(1, 700, 1)]));
        assert_eq!(live.recent(&id(2), 9).len(), 1);
        live.publish(set_back(4_301, vec![point(1, 701, 1)]));
        assert!(live.recent(&id(2), 9).is_empty());
    }

    #[test]
    fn totals_stay_until_they_are_read_again() {
        let live = Live::default();
        let read = Values::NONE.with(F::NetSent, 7);
        live.publish(round(0, vec![LivePoint { totals: read, ..point(1, 0, 1) }]));
        live.publish(round(1, vec![point(1, 1, 1)]));
        assert_eq!(live.newest(up(1), Duration::from_secs(2))[0].totals, read);
    }

    #[tokio::test]
    async fn followers_get_every_round_and_one_that_is_too_slow_is_told() {
        let live = Live::default();
        // A task that failed and started again counts no more often than it listens.
        drop(live.listen());
        let _listener = live.listen();
        assert!(!live.is_followed());
        let mut follower = live.follow();
        assert!(live.is_followed());
        for second in 0..20 {
            live.publish(round(second, Vec::new()));
        }
        assert!(matches!(follower.recv().await, Err(broadcast::error::RecvError::Lagged(4))));
        assert_eq!(follower.recv().await.unwrap().at, at(4));
    }
}
