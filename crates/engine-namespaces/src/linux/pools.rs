//! Ends sandboxes that hold too much of the kernel's memory: which those are, [`sandscope_kernel_pools`] judges.
//!
//! A sandbox that is to end is marked with its cause and killed; its one task reports its end as any other that nobody
//! asked for. Of the engine the watch holds nothing: one that is dropped can be started again at once.

use std::os::fd::AsFd as _;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use sandscope_kernel_pools::{Holder, Host, Judgement, Seen, Watch, holdings};
use sandscope_model::{Cause, SandboxId};
use sandscope_tasks::{Phase, Task};
use tokio::sync::watch;

use super::handles::Handles;
use super::kill::kill_processes;
use super::sandbox::Sandbox;
use super::sandboxes::Sandboxes;
use super::shared::Shared;

/// The pause between two looks at the host: three reads.
const PAUSE: Duration = Duration::from_millis(250);
/// Of all time, sandboxes are looked at for no more than one such part.
const SHARE: u32 = 5;
/// Processes of a sandbox that are looked at, at most.
const MAX_PROCESSES: usize = 4096;
/// How often at most it is logged that memory grew and nobody is known for it.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(600);

/// What the watch has seen and done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KernelMemory {
    /// Bytes that the kernel uses itself and charges to no sandbox, beyond the least it ever did in this server's life.
    pub grown_bytes: u64,
    /// Sandboxes ended for it.
    pub n_ended: u64,
}

/// Starts to watch. What is watched may be dropped meanwhile: then there is nothing more to do.
pub(super) fn start(shared: &Shared) {
    let sandboxes = Arc::downgrade(&shared.sandboxes);
    let (told, budget) = (shared.kernel_memory.clone(), shared.preparer.options.kernel_memory_bytes);
    let stop = shared.tasks.stopping(Phase::Engine);
    shared.tasks.start(Task::restart("kernel-pools", Phase::Engine), move || {
        let stopped = stop.clone().cancelled_owned();
        let life = watch(sandboxes.clone(), told.clone(), Watch::new(budget));
        async move {
            tokio::select! {
                () = stopped => Ok(()),
                failure = life => Err(failure),
            }
        }
    });
}

/// Looks until it fails, and returns why.
async fn watch(sandboxes: Weak<Sandboxes>, told: watch::Sender<KernelMemory>, mut watch: Watch) -> String {
    let mut unknown_at: Option<Instant> = None;
    loop {
        tokio::time::sleep(PAUSE).await;
        let Some(sandboxes) = sandboxes.upgrade() else { return std::future::pending().await };
        // Three small files of the kernel's: not worth a thread, four times a second.
        let Some(host) = Host::read().filter(|host| watch.suspects(host)) else { continue };
        let begun = Instant::now();
        let is_alone = sandboxes.all().is_empty();
        let look = move || {
            let judgement = look(&sandboxes, &mut watch, host);
            (watch, judgement)
        };
        // Away from the threads that serve requests: a look at sandboxes may take a while. Without any it takes none, and
        // a host that is merely busy keeps no thread of the server for it.
        let looked = if is_alone { Ok(look()) } else { tokio::task::spawn_blocking(look).await };
        let judgement = match looked {
            Ok((kept, judgement)) => {
                watch = kept;
                judgement
            }
            Err(error) => return format!("could not look at the host: {error}"),
        };
        let (judgement, n_ended) = judgement;
        told.send_modify(|told| {
            told.grown_bytes = judgement.grown_bytes;
            told.n_ended = told.n_ended.saturating_add(n_ended);
        });
        if judgement.is_unknown && unknown_at.is_none_or(|at| at.elapsed() > UNKNOWN_PAUSE) {
            unknown_at = Some(Instant::now());
            let grown_mib = judgement.grown_bytes >> 20;
            tracing::warn!(grown_mib, "the kernel's own memory grew, and no sandbox is known for it");
        }
        tokio::time::sleep(begun.elapsed() * (SHARE - 1)).await;
    }
}

/// One look at all sandboxes of a host that gives reason for it, and how many it ended.
fn look(sandboxes: &Sandboxes, watch: &mut Watch, host: Host) -> (Judgement, u64) {
    let sandboxes = sandboxes.all();
    let seen = holdings_of(&sandboxes);
    // What they hold may have grown while they were looked at.
    let judgement = watch.judge(&Host::read().unwrap_or(host), &seen);
    let mut n_ended = 0;
    for (id, cause) in &judgement.ended {
        let held = seen.iter().find(|seen| seen.id == *id).map_or(0, Seen::held_bytes);
        let sandbox = sandboxes.iter().find(|sandbox| sandbox.id == *id);
        n_ended += u64::from(sandbox.is_some_and(|sandbox| end(sandbox, *cause, held)));
    }
    (judgement, n_ended)
}

/// What those that live hold.
fn holdings_of(sandboxes: &[Arc<Sandbox>]) -> Vec<Seen> {
    let alive: Vec<_> = sandboxes.iter().filter_map(|sandbox| Some((sandbox, sandbox.live()?))).collect();
    holdings(alive.iter().map(|(sandbox, live)| holder(sandbox, live)).collect())
}

fn holder<'a>(sandbox: &Sandbox, live: &'a Handles) -> Holder<'a> {
    let kernel = sandbox.cgroup.kernel();
    Holder {
        id: sandbox.id.clone(),
        pids: sandbox.cgroup.processes(MAX_PROCESSES).unwrap_or_default(),
        proc_dir: live.proc_dir.as_fd(),
        charged_bytes: kernel.memory_bytes,
        system_usec: kernel.system_usec,
    }
}

/// Says whether it was to live until now.
fn end(sandbox: &Sandbox, cause: Cause, held_bytes: u64) -> bool {
    let is_first = sandbox.condemn(cause);
    let sandbox_id: &SandboxId = &sandbox.id;
    if is_first {
        let (cause, held_mib) = (cause.as_str(), held_bytes >> 20);
        tracing::warn!(%sandbox_id, cause, held_mib, "a sandbox takes too much of the kernel's memory: ending it");
    }
    if let Err(error) = kill_processes(sandbox) {
        // The next look finds it again.
        tracing::error!(%sandbox_id, %error, "it cannot be ended");
    }
    is_first
}
