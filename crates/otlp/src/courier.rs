//! Records to the collector, until it has taken or refused each: again after a while, in smaller pieces, or set aside.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use sandscope_model::{Clock, Entropy, Signal};
use tokio_util::sync::CancellationToken;

use crate::OtlpStats;
use crate::collector::{Collector, Path, SendOutcome};
use crate::record::{Record, Source, nanos};

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How long to wait after each failure in a row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backoff {
    n_failures: u32,
}

impl Backoff {
    /// The next wait; what the collector asked for, where it did. Between half and all of it, so that servers that lost
    /// the same collector do not come back together.
    pub(crate) fn next(&mut self, asked: Option<Duration>, entropy: &dyn Entropy) -> Duration {
        let full = FIRST_WAIT.saturating_mul(1 << self.n_failures.min(10)).min(LONGEST_WAIT);
        self.n_failures = self.n_failures.saturating_add(1);
        let mut byte = [0];
        entropy.fill(&mut byte);
        asked.unwrap_or_else(|| full.mul_f64(0.5 + f64::from(byte[0]) / 510.0))
    }

    pub(crate) const fn is_first_failure(&self) -> bool {
        self.n_failures == 0
    }

    /// It works. Whether it did not before.
    pub(crate) const fn works(&mut self) -> bool {
        let was_failing = self.n_failures > 0;
        self.n_failures = 0;
        was_failing
    }
}

/// What all pumps share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) collector: Arc<Collector>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) stats: Arc<OtlpStats>,
    /// Start nothing new, and wait for nothing.
    pub(crate) stop: CancellationToken,
}

impl Shared {
    pub(crate) async fn post(&self, path: Path, body: bytes::Bytes) -> SendOutcome {
        let now = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos(self.clock.now()));
        self.collector.post(path, body, now).await
    }

    /// Waits; false if it is to end instead.
    pub(crate) async fn wait(&self, wait: Duration) -> bool {
        self.stop.run_until_cancelled(self.clock.sleep(wait)).await.is_some()
    }

    /// Says the first of failures in a row.
    pub(crate) fn tell_failure(&self, signal: Signal, backoff: &Backoff, why: &str) {
        self.stats.failed(signal);
        if backoff.is_first_failure() {
            tracing::warn!(%signal, why, "the collector does not take it; it will be tried again");
        } else {
            tracing::debug!(%signal, why, "the collector still does not take it");
        }
    }

    pub(crate) fn tell_success(&self, signal: Signal, backoff: &mut Backoff) {
        if backoff.works() {
            tracing::info!(%signal, "the collector takes it again");
        }
    }
}

/// Brings the records of one kind.
#[derive(Clone)]
pub(crate) struct Courier {
    pub(crate) shared: Shared,
    pub(crate) signal: Signal,
    pub(crate) source: Source,
    pub(crate) backoff: Backoff,
}

/// It is to end, and not everything was taken.
#[derive(Debug)]
pub(crate) struct Stopped;

impl Courier {
    pub(crate) fn new(shared: Shared, signal: Signal, source: Source) -> Self {
        Self { shared, signal, source, backoff: Backoff::default() }
    }

    /// Returns once each of `records` is taken or refused for good.
    pub(crate) async fn deliver(&mut self, records: &[Record]) -> Result<(), Stopped> {
        let whole: Range<usize> = 0..records.len();
        let mut parts = vec![whole];
        // The part on top is one record, and was refused when a request with nothing in it was not.
        let mut is_suspect = false;
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let request = self.source.request(&records[part.clone()]);
            let body = self.shared.collector.pack(&request);
            match self.shared.post(Path::Logs, body).await {
                SendOutcome::Taken { n_rejected, words } => {
                    is_suspect = false;
                    self.taken(part.len(), n_rejected, &words);
                }
                SendOutcome::Later { why, after } => {
                    is_suspect = false;
                    self.fail(&why, after).await?;
                    parts.push(part);
                }
                SendOutcome::Unfit { why } if part.len() > 1 => {
                    self.shared.stats.failed(self.signal);
                    tracing::debug!(signal = %self.signal, why, n = part.len(), "in halves");
                    let middle = part.start + part.len() / 2;
                    // The first half is on top.
                    parts.push(middle..part.end);
                    parts.push(part.start..middle);
                }
                SendOutcome::Unfit { why } => {
                    self.shared.stats.failed(self.signal);
                    // Is it this record, or would it refuse anything?
                    let nothing = self.shared.collector.pack(&ExportLogsServiceRequest::default());
                    match self.shared.post(Path::Logs, nothing).await {
                        SendOutcome::Taken { .. } if is_suspect => {
                            self.set_aside(&records[part.start], &why);
                            is_suspect = false;
                        }
                        // It may have come to itself between the two: only a second refusal is about the record.
                        SendOutcome::Taken { .. } => {
                            is_suspect = true;
                            parts.push(part);
                        }
                        SendOutcome::Later { after, .. } => {
                            is_suspect = false;
                            self.fail(&why, after).await?;
                            parts.push(part);
                        }
                        SendOutcome::Unfit { .. } => {
                            is_suspect = false;
                            self.fail(&why, None).await?;
                            parts.push(part);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn taken(&mut self, n: usize, n_rejected: u64, words: &str) {
        let n = u64::try_from(n).unwrap_or(u64::MAX);
        self.shared.tell_success(self.signal, &mut self.backoff);
        self.shared.stats.sent(self.signal, n.saturating_sub(n_rejected));
        if n_rejected > 0 {
            self.shared.stats.rejected(self.signal, n_rejected);
            tracing::warn!(signal = %self.signal, n_rejected, words, "the collector refused some for good");
        }
    }

    fn set_aside(&self, record: &Record, why: &str) {
        self.shared.stats.rejected(self.signal, 1);
        tracing::error!(signal = %self.signal, record = record.name, why, "the collector will not have it; passed over");
    }

    async fn fail(&mut self, why: &str, after: Option<Duration>) -> Result<(), Stopped> {
        self.shared.tell_failure(self.signal, &self.backoff, why);
        let wait = self.backoff.next(after, &*self.shared.entropy);
        if self.shared.wait(wait).await { Ok(()) } else { Err(Stopped) }
    }
}
