//! Sandboxes that compute let the others have a CPU first.
//!
//! ```text
//!   every 100 ms ─► do CPUs run short? ─► how much each sandbox used ─► policy: who yields ─► its control group
//! ```
//!
//! The kernel gives a task its turn of some milliseconds before another has the CPU. A command is a dozen of short turns,
//! of the agent, a shell, a program: beside a neighbour that computes each may wait for one of those. Whoever yields is
//! taken off the CPU at once, and goes on with what the others leave.
//!
//! That does not help against what the kernel does for a sandbox: a kernel without preemption finishes what it began,
//! and frees on each CPU what was given back there, thousands of open files at a time. Whoever has it work most of the
//! time is kept to half of the CPUs while others do something.
//!
//! **Failure.** A mark that is not set or not taken away is found with the next change; a server that starts takes away
//! those of the one before. A kernel older than Linux 5.15 does not know the mark, and a host may not hand down which CPUs are used: then everybody
//! waits for each other as before.

mod policy;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use sandscope_cgroup::{CgroupError, Cgroups, CpuLoad, CpuMeter};
use sandscope_engine::EngineError;
use sandscope_tasks::{Phase, Task};
use tokio_util::sync::CancellationToken;

use self::policy::{Policy, Turn, Usage};
use super::sandbox::Sandbox;
use super::sandboxes::Sandboxes;
use super::shared::Shared;
use super::step::cgroup_step;

/// The pause between two looks: two reads.
const PAUSE: Duration = Duration::from_millis(100);
/// Of all time, sandboxes are looked at for no more than one such part.
const PART: u32 = 20;
/// CPUs run short where sandboxes use one such part of them.
const BUSY: u64 = 4;
/// Or where something on the host waited for one for one such part of the time.
const WAITED: u64 = 10;

/// How often, and after how long each time, what nobody needs is tried to be removed at the end.
const TRIES: u32 = 10;
const PAUSE_OF_TRIES: Duration = Duration::from_millis(20);

/// Starts to look. What is looked at may be dropped meanwhile: then there is nothing more to do.
pub(super) fn start(shared: &Shared) -> Result<(), EngineError> {
    let meter = shared.cgroups.cpu_meter().map_err(cgroup_step("open the count of CPU time"))?;
    let (meter, sandboxes) = (Arc::new(meter), Arc::downgrade(&shared.sandboxes));
    let cgroups = Arc::clone(&shared.cgroups);
    let stop = shared.tasks.stopping(Phase::Engine);
    shared.tasks.start(Task::restart("cpu-yields", Phase::Engine), move || {
        let (stop, cgroups) = (stop.clone(), Arc::clone(&cgroups));
        let (sandboxes, meter) = (sandboxes.clone(), Arc::clone(&meter));
        async move {
            watch(&stop, sandboxes, &cgroups, meter).await?;
            clear_half(&cgroups).await;
            Ok(())
        }
    });
    Ok(())
}

/// For the end: whoever was killed a moment ago needs the place a little longer. Those that live and have half of the CPUs
/// keep it until the next server looks.
async fn clear_half(cgroups: &Cgroups) {
    for _ in 0..TRIES {
        if cgroups.clear_half().unwrap_or(true) {
            return;
        }
        tokio::time::sleep(PAUSE_OF_TRIES).await;
    }
}

/// Looks until it is stopped, never in the middle of a look; or until it fails, and returns why.
async fn watch(
    stop: &CancellationToken,
    sandboxes: Weak<Sandboxes>,
    cgroups: &Cgroups,
    meter: Arc<CpuMeter>,
) -> Result<(), String> {
    // Whatever an earlier life or an earlier server left.
    for sandbox in sandboxes.upgrade().into_iter().flat_map(|sandboxes| sandboxes.all_alive()) {
        turn(&sandbox, Turn::Yields, Turn::Equal);
        turn(&sandbox, Turn::Half, Turn::Yields);
    }
    let (mut policy, mut half_is_clear) = (Policy::default(), false);
    let (mut before, mut began) = (meter.read().unwrap_or_default(), Instant::now());
    let mut pause = PAUSE;
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        pause = PAUSE;
        let Some(sandboxes) = sandboxes.upgrade() else {
            stop.cancelled().await;
            break;
        };
        let elapsed = began.elapsed();
        let load = match meter.read() {
            Ok(load) => load,
            Err(error) => return Err(format!("cannot read how CPUs are used: {error}")),
        };
        if !policy.has_half() && !half_is_clear {
            half_is_clear = cgroups.clear_half().unwrap_or(true);
        }
        let is_short = run_short(before, load, elapsed, n_cpus());
        (before, began) = (load, Instant::now());
        if !is_short && !policy.has_yielding() {
            policy.forget();
            continue;
        }
        let look = move || {
            look(&sandboxes.all_alive(), &mut policy, elapsed);
            policy
        };
        // Away from the threads that serve requests: there may be many sandboxes.
        policy = match tokio::task::spawn_blocking(look).await {
            Ok(looked) => looked,
            Err(error) => return Err(format!("could not look at the sandboxes: {error}")),
        };
        half_is_clear &= !policy.has_half();
        pause = PAUSE.max(began.elapsed() * (PART - 1));
    }
    Ok(())
}

/// CPUs of the host that this server, and so its sandboxes, may use.
fn n_cpus() -> u64 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u64)
}

/// Whether it matters who goes first.
fn run_short(before: CpuLoad, now: CpuLoad, elapsed: Duration, n_cpus: u64) -> bool {
    let elapsed = micros(elapsed);
    let used = now.usage_usec.saturating_sub(before.usage_usec);
    let waited = now.waited_usec.saturating_sub(before.waited_usec);
    used.saturating_mul(BUSY) >= elapsed.saturating_mul(n_cpus) || waited.saturating_mul(WAITED) >= elapsed
}

fn look(sandboxes: &[Arc<Sandbox>], policy: &mut Policy, elapsed: Duration) {
    let usage = |sandbox: &Arc<Sandbox>| {
        // One whose group is gone is at its end.
        let used = sandbox.cgroup.cpu_use().ok()?;
        Some(Usage { id: sandbox.id.clone(), usec: used.usage_usec, system_usec: used.system_usec })
    };
    let usages: Vec<Usage> = sandboxes.iter().filter_map(usage).collect();
    for change in policy.judge(micros(elapsed), &usages) {
        if let Some(sandbox) = sandboxes.iter().find(|sandbox| sandbox.id == change.id) {
            turn(sandbox, change.from, change.to);
        }
    }
}

fn turn(sandbox: &Sandbox, from: Turn, to: Turn) {
    let told = |outcome: Result<bool, CgroupError>| {
        let sandbox_id = &sandbox.id;
        match outcome {
            Ok(is_known) => tracing::debug!(%sandbox_id, ?to, is_known, "who has the CPUs first"),
            Err(error) => tracing::debug!(%sandbox_id, ?to, %error, "cannot change who has the CPUs first"),
        }
    };
    if (from == Turn::Equal) != (to == Turn::Equal) {
        told(sandbox.cgroup.set_yields(to != Turn::Equal));
    }
    if (from == Turn::Half) != (to == Turn::Half) {
        told(sandbox.cgroup.keep_to_half(to == Turn::Half));
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn load(usage_usec: u64, waited_usec: u64) -> CpuLoad {
        CpuLoad { usage_usec, waited_usec }
    }

    #[test]
    fn cpus_run_short_where_sandboxes_use_a_quarter_or_something_waits() {
        let short =
            |used: u64, waited: u64, n_cpus| run_short(load(7, 7), load(7 + used, 7 + waited), PAUSE, n_cpus);
        assert!(short(50_000, 0, 2));
        assert!(!short(49_000, 0, 2));
        assert!(!short(50_000, 0, 64));
        assert!(short(0, 10_000, 64));
        assert!(!short(0, 9_000, 64));
    }
}
