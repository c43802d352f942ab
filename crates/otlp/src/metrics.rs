use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sandscope_model::{Signal, Timestamp, Uptime};
use sandscope_sampler::Live;
use tokio::sync::Mutex;

use crate::collector::{Path, SendOutcome};
use crate::courier::{Backoff, Shared};
use crate::figures::Moment;
use crate::record::Source;
use crate::sandboxes::Sandboxes;

/// Requests kept while the collector is away, and their bytes.
const MAX_QUEUED: usize = 120;
const MAX_QUEUED_BYTES: usize = 8 << 20;
/// So long after its reading a point is no longer the present.
const MAX_AGE: Duration = Duration::from_secs(5);

/// Measures every interval and brings it to the collector, the oldest first.
pub(crate) struct MetricPump {
    pub(crate) shared: Shared,
    pub(crate) source: Source,
    pub(crate) live: Live,
    pub(crate) sandboxes: Sandboxes,
    pub(crate) interval: Duration,
    pub(crate) n_sandboxes: usize,
    pub(crate) started_at: Timestamp,
    /// Of all lives of the task: what waits when one fails is sent by the next.
    pub(crate) queue: Arc<Mutex<Queue>>,
}

/// Packed requests with their number of points, bounded: the oldest go first.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    requests: VecDeque<(Bytes, u64)>,
    n_bytes: usize,
}

impl Queue {
    /// How many points had to make room.
    fn push(&mut self, body: Bytes, n_points: u64) -> u64 {
        self.n_bytes += body.len();
        self.requests.push_back((body, n_points));
        let mut n_dropped = 0;
        // The newest stays, whatever its size.
        while self.requests.len() > 1 && (self.requests.len() > MAX_QUEUED || self.n_bytes > MAX_QUEUED_BYTES)
        {
            n_dropped += self.pop();
        }
        n_dropped
    }

    fn pop(&mut self) -> u64 {
        self.requests.pop_front().map_or(0, |(body, n_points)| {
            self.n_bytes -= body.len();
            n_points
        })
    }

    fn front(&self) -> Option<&(Bytes, u64)> {
        self.requests.front()
    }

    fn len(&self) -> u64 {
        u64::try_from(self.requests.len()).unwrap_or(u64::MAX)
    }
}

impl MetricPump {
    pub(crate) async fn run(self) {
        let mut queue = self.queue.lock().await;
        let (clock, stop) = (self.shared.clock.clone(), self.shared.stop.clone());
        let later = |wait: Duration| clock.uptime().after(wait);
        let (mut due, mut again_at) = (later(self.interval), None);
        let mut backoff = Backoff::default();
        loop {
            let until = again_at.map_or(due, |again: Uptime| again.min(due));
            if stop.run_until_cancelled(clock.sleep_until(until)).await.is_none() {
                return;
            }
            if clock.uptime() >= due {
                self.measure(&mut queue);
                due = later(self.interval);
            }
            if again_at.is_none_or(|again| clock.uptime() >= again) {
                // A drain does not wait for it: what is missing then is seconds of figures.
                let Some(wait) = stop.run_until_cancelled(self.send(&mut queue, &mut backoff)).await else {
                    return;
                };
                again_at = wait.map(later);
            }
        }
    }

    fn measure(&self, queue: &mut Queue) {
        let now = self.shared.clock.stamp();
        let moment = Moment {
            at: now.at,
            started_at: self.started_at,
            sandboxes: &self.sandboxes.all(),
            points: &self.live.newest(now.uptime, MAX_AGE),
            n_sandboxes: self.n_sandboxes,
            stats: &self.shared.stats,
        };
        let (request, n_points) = moment.request(&self.source);
        let n_dropped = queue.push(self.shared.collector.pack(&request), n_points);
        self.shared.stats.dropped(Signal::Metrics, n_dropped);
        self.shared.stats.waiting(Signal::Metrics, queue.len());
    }

    /// Sends what is queued. How long to wait before the rest, if there is any.
    async fn send(&self, queue: &mut Queue, backoff: &mut Backoff) -> Option<Duration> {
        let stats = self.shared.stats.clone();
        while let Some((body, n_points)) = queue.front().cloned() {
            match self.shared.post(Path::Metrics, body).await {
                SendOutcome::Taken { n_rejected, words } => {
                    self.shared.tell_success(Signal::Metrics, backoff);
                    stats.sent(Signal::Metrics, n_points.saturating_sub(n_rejected));
                    stats.rejected(Signal::Metrics, n_rejected);
                    if n_rejected > 0 {
                        tracing::warn!(signal = %Signal::Metrics, n_rejected, words, "the collector refused some for good");
                    }
                }
                SendOutcome::Unfit { why } => {
                    self.shared.tell_failure(Signal::Metrics, backoff, &why);
                    stats.rejected(Signal::Metrics, n_points);
                    queue.pop();
                    stats.waiting(Signal::Metrics, queue.len());
                    return Some(backoff.next(None, &*self.shared.entropy));
                }
                SendOutcome::Later { why, after } => {
                    self.shared.tell_failure(Signal::Metrics, backoff, &why);
                    return Some(backoff.next(after, &*self.shared.entropy));
                }
            }
            queue.pop();
            stats.waiting(Signal::Metrics, queue.len());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_bounded_by_requests_and_by_bytes() {
        let mut queue = Queue::default();
        let dropped: u64 = (0..200).map(|n| queue.push(Bytes::from_static(b"x"), n)).sum();
        assert_eq!((queue.len(), dropped), (120, (0..80).sum()));
        assert_eq!(queue.front().map(|(_, n_points)| *n_points), Some(80));
        queue.push(vec![0; MAX_QUEUED_BYTES + 1].into(), 7);
        assert_eq!((queue.len(), queue.pop(), queue.n_bytes), (1, 7, 0));
    }
}
