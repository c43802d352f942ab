use std::sync::Arc;
use std::time::Duration;

use sandscope_engine::{Depth, ReadError, Reading, Readings, Wanted};
use sandscope_model::{Clock, Sample, SandboxId, Stamp, Uptime};
use sandscope_store::NodeFacts;
use sandscope_tasks::{Phase, Task, Tasks};
use tokio_util::sync::CancellationToken;

use crate::rounds::{Due, Rounds};
use crate::{Live, LivePoint, LiveRound, SamplerStats, Subject};

/// How often the sampler looks for sandboxes it does not know.
const LOOK: Duration = Duration::from_millis(250);
/// So long after its time a round counts as late.
const LATE: Duration = Duration::from_secs(1);

/// What a sampler is made of.
#[derive(Clone)]
pub struct SamplerOptions {
    /// Where samples go, and where sandboxes' sizes come from.
    pub facts: Arc<dyn NodeFacts>,
    /// Where counters are read.
    pub readings: Arc<dyn Readings>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// How often each running sandbox is sampled; at least one second.
    pub interval: Duration,
    /// Where every second goes, if anywhere.
    pub live: Option<Live>,
    /// Where it is counted what was done.
    pub stats: Arc<SamplerStats>,
    /// Who is notified at once of a running sandbox whose counters cannot be read: its control groups may be gone.
    pub suspect: Option<Suspect>,
}

/// Hears of sandboxes that something seems to be wrong with. Returns at once.
pub type Suspect = Arc<dyn Fn(&SandboxId) + Send + Sync>;

impl std::fmt::Debug for SamplerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SamplerOptions").field("interval", &self.interval).finish_non_exhaustive()
    }
}

/// Samples every running sandbox until `tasks` are drained. When it fails every sandbox starts over with a first reading.
pub fn start(options: SamplerOptions, tasks: &Tasks) {
    let stop = tasks.stopping(Phase::Observe);
    tasks.start(Task::restart("sampler", Phase::Observe), move || run(options.clone(), stop.clone()));
}

async fn run(options: SamplerOptions, stop: CancellationToken) {
    let mut rounds = Rounds::new(options.interval, options.live.is_some());
    let mut is_storing = true;
    let mut meant_at: Option<Uptime> = None;
    let mut published_at = None;
    loop {
        let now = options.clock.stamp();
        if meant_at.is_some_and(|meant_at| now.uptime.since(meant_at) >= LATE) {
            options.stats.late();
        }
        let found = round(&options, &mut rounds, now).await;
        let took = options.clock.uptime().since(now.uptime);
        options.stats.round(found.points.len(), took);
        // Once a second also if there is nothing to report: followers see time pass.
        if let Some(live) = &options.live
            && (!found.points.is_empty() || published_at != Some(now.at.as_second()))
        {
            published_at = Some(now.at.as_second());
            live.publish(LiveRound { at: now.at, uptime: now.uptime, points: found.points });
        }
        let samples = found.samples;
        if !samples.is_empty() {
            let n_samples = samples.len();
            let stored = options.facts.insert_samples(samples).await;
            options.stats.stored(n_samples, stored.is_ok());
            // One line when it begins and one when it is over, not one per tick.
            match &stored {
                Err(error) if is_storing => tracing::warn!(%error, n_samples, "samples are lost"),
                Ok(()) if !is_storing => tracing::info!("samples are stored again"),
                _ => {}
            }
            is_storing = stored.is_ok();
        }
        let wake_at = now.uptime.after(LOOK).min(rounds.next_wake(now));
        meant_at = Some(wake_at);
        tokio::select! {
            () = stop.cancelled() => return,
            () = options.clock.sleep_until(wake_at) => {}
        }
    }
}

/// What a round made of its readings.
#[derive(Default)]
struct Found {
    /// To be stored.
    samples: Vec<Sample>,
    /// To be shown.
    points: Vec<LivePoint>,
}

/// Reads whatever is due and derives its samples.
async fn round(options: &SamplerOptions, rounds: &mut Rounds, now: Stamp) -> Found {
    let round = rounds.begin(now.uptime, options.readings.running());
    let mut found = Found::default();
    if round.new.is_empty() && round.due.is_empty() {
        return found;
    }
    let is_followed = options.live.as_ref().is_some_and(Live::is_followed);
    for (id, reading) in read(&*options.readings, round.due, is_followed).await {
        match reading {
            Ok(Reading { counters: reading, pressures }) => {
                let totals = reading.more;
                let taken = rounds.take(now, &id, reading);
                found.samples.extend(taken.sample);
                if let (Some(sample), Some(team_id)) = (taken.second, taken.team_id) {
                    found.points.push(LivePoint { team_id, sample, totals, pressures });
                }
            }
            Err(error) => {
                report(options, &id, &error);
                rounds.forget(&id);
            }
        }
    }
    let new = round.new.into_iter().map(|id| Due { id, is_stored: true }).collect();
    for (id, reading) in read(&*options.readings, new, false).await {
        match reading {
            Ok(Reading { counters, .. }) => {
                if let Some(subject) = subject(&*options.facts, &id).await {
                    rounds.start(now.uptime, subject, counters);
                }
            }
            Err(error) => report(options, &id, &error),
        }
    }
    found
}

/// Reads all that are due in one call. What is read less often is read for samples that are stored, and while somebody
/// follows.
async fn read(
    readings: &dyn Readings,
    due: Vec<Due>,
    is_followed: bool,
) -> Vec<(SandboxId, Result<Reading, ReadError>)> {
    if due.is_empty() {
        return Vec::new();
    }
    let wanted = |Due { id, is_stored }: Due| {
        let depth = match (is_followed, is_stored) {
            (true, _) => Depth::WithPressures,
            (false, true) => Depth::Stored,
            (false, false) => Depth::Counters,
        };
        Wanted { id, depth }
    };
    readings.read(due.into_iter().map(wanted).collect()).await
}

fn report(options: &SamplerOptions, sandbox_id: &SandboxId, error: &ReadError) {
    // It may have ended between being listed and being read.
    if !matches!(error, ReadError::NotFound) {
        options.stats.unreadable();
        if let Some(suspect) = &options.suspect {
            suspect(sandbox_id);
        }
        tracing::debug!(%sandbox_id, %error, "cannot read counters");
    }
}

/// What the sandbox may use. `None` if the store does not know (yet): the next look asks again.
async fn subject(facts: &dyn NodeFacts, id: &SandboxId) -> Option<Subject> {
    match facts.sandbox(id).await {
        Ok(sandbox) => sandbox.map(|sandbox| Subject {
            sandbox_id: sandbox.id,
            team_id: sandbox.team_id,
            cpu_count: sandbox.spec.vcpu_count,
            memory_bytes: u64::from(sandbox.spec.memory_mb) << 20,
        }),
        Err(error) => {
            tracing::debug!(sandbox_id = %id, %error, "cannot look up the sandbox");
            None
        }
    }
}
