use std::sync::Arc;
use std::time::Duration;

use sandscope_model::{Clock, Counters, SandboxId, Timestamp};
use sandscope_runtime::{Runtime, RuntimeError};
use sandscope_store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::rounds::Rounds;
use crate::{Subject, retention};

/// How often the sampler looks for sandboxes it does not know.
const LOOK: Duration = Duration::from_millis(250);

/// What a sampler is made of.
#[derive(Clone)]
pub struct SamplerOptions {
    /// Where samples go, and where sandboxes' sizes come from.
    pub store: Store,
    /// Whose counters are read.
    pub runtime: Arc<dyn Runtime>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// How often each running sandbox is sampled; at least one second.
    pub interval: Duration,
}

impl std::fmt::Debug for SamplerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SamplerOptions").field("interval", &self.interval).finish_non_exhaustive()
    }
}

/// Samples every running sandbox, and removes what is past its retention, until it is drained.
#[derive(Debug)]
pub struct Sampler {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Sampler {
    /// Starts both tasks.
    pub fn start(options: SamplerOptions) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(retention::run(options.store.clone(), Arc::clone(&options.clock), stop.clone()));
        tasks.spawn(run(options, stop.clone()));
        tasks.close();
        Self { stop, tasks }
    }

    /// Lets what is under way finish, and ends.
    pub async fn drain(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

async fn run(options: SamplerOptions, stop: CancellationToken) {
    let mut rounds = Rounds::new(options.interval);
    let mut is_storing = true;
    loop {
        let now = options.clock.now();
        let samples = round(&options, &mut rounds, now).await;
        if !samples.is_empty() {
            let n_samples = samples.len();
            let stored = options.store.insert_samples(samples).await;
            // One line when it begins and one when it is over, not one per tick.
            match &stored {
                Err(error) if is_storing => tracing::warn!(%error, n_samples, "samples are lost"),
                Ok(()) if !is_storing => tracing::info!("samples are stored again"),
                _ => {}
            }
            is_storing = stored.is_ok();
        }
        let next_look = now.checked_add(LOOK).unwrap_or(Timestamp::MAX);
        let wake_at = next_look.min(rounds.next_tick(now));
        tokio::select! {
            () = stop.cancelled() => return,
            () = options.clock.sleep_until(wake_at) => {}
        }
    }
}

/// Reads whatever is due and derives its samples.
async fn round(
    options: &SamplerOptions,
    rounds: &mut Rounds,
    now: Timestamp,
) -> Vec<sandscope_model::Sample> {
    let round = rounds.begin(now, options.runtime.running());
    if round.new.is_empty() && round.due.is_empty() {
        return Vec::new();
    }
    let mut samples = Vec::with_capacity(round.due.len());
    for (id, reading) in read_all(&options.runtime, round.due).await {
        match reading {
            Ok(reading) => samples.extend(rounds.take(now, &id, reading)),
            Err(error) => {
                report(&id, &error);
                rounds.forget(&id);
            }
        }
    }
    for (id, reading) in read_all(&options.runtime, round.new).await {
        match reading {
            Ok(reading) => {
                if let Some(subject) = subject(&options.store, &id).await {
                    rounds.start(now, subject, reading);
                }
            }
            Err(error) => report(&id, &error),
        }
    }
    samples
}

/// Reads counters one after the other, away from the threads that serve requests: each takes tens of microseconds,
/// all of them together do not.
async fn read_all(
    runtime: &Arc<dyn Runtime>,
    ids: Vec<SandboxId>,
) -> Vec<(SandboxId, Result<Counters, RuntimeError>)> {
    if ids.is_empty() {
        return Vec::new();
    }
    let runtime = Arc::clone(runtime);
    let read = move || {
        let read_one = |id: SandboxId| {
            let reading = runtime.counters(&id);
            (id, reading)
        };
        ids.into_iter().map(read_one).collect()
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| {
        tracing::error!(%error, "reading counters failed");
        Vec::new()
    })
}

fn report(sandbox_id: &SandboxId, error: &RuntimeError) {
    // It may have ended between being listed and being read.
    if !matches!(error, RuntimeError::NotFound) {
        tracing::debug!(%sandbox_id, %error, "cannot read counters");
    }
}

/// What the sandbox may use. `None` if the store does not know (yet): the next look asks again.
async fn subject(store: &Store, id: &SandboxId) -> Option<Subject> {
    match store.sandbox(id).await {
        Ok(sandbox) => sandbox.map(|sandbox| Subject {
            sandbox_id: sandbox.id,
            cpu_count: sandbox.spec.vcpu_count,
            memory_bytes: u64::from(sandbox.spec.memory_mb) << 20,
        }),
        Err(error) => {
            tracing::debug!(sandbox_id = %id, %error, "cannot look up the sandbox");
            None
        }
    }
}
