//! Ending a sandbox on request.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use sandscope_engine::EngineError;
use sandscope_model::{Exit, SandboxId};

use super::busy::BusyWith;
use super::record::KILL_FILE;
use super::removal::Remover;
use super::sandbox::Sandbox;
use super::shared::Shared;
use super::step::{blocking, cgroup_step, step};
use super::sys;

/// How long a killed sandbox may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Ends the sandbox and removes it; says how it ended.
pub(super) async fn kill(shared: &Shared, id: &SandboxId) -> Result<Option<Exit>, EngineError> {
    let Some(sandbox) = shared.sandboxes.get(id) else {
        // Its directory may have been removed underneath, with everything that leads to it but its name.
        if !shared.busy.has(id) {
            shared.remove_remains(id).await;
        }
        return Ok(None);
    };
    sandbox.begin_kill();
    let killed = Arc::clone(&sandbox);
    blocking("kill the sandbox", move || {
        // A sign to the shim that nobody needs its record to last.
        let _best_effort = File::create_new(killed.dir.join(KILL_FILE));
        if let Some(live) = killed.live() {
            // A checkpoint that was cut short may have left it so; nothing could end on a frozen disk.
            let _not_frozen = sys::thaw_filesystem(live.disk.as_fd());
        }
        kill_processes(&killed)
    })
    .await?;
    let exit = tokio::time::timeout(KILL_LIMIT, sandbox.ended())
        .await
        .map_err(|_| step("wait for the sandbox's end")(io::ErrorKind::TimedOut.into()))?;
    let busy = shared.busy.with(id);
    shared.sandboxes.remove(id);
    discard(&shared.remover, sandbox, busy);
    // Asked for: there is nothing behind it.
    Ok(exit.map(|exit| Exit { cause: None, ..exit }))
}

/// Removes a dead sandbox's files and control groups, in the background where that takes long.
fn discard(remover: &Remover, sandbox: Arc<Sandbox>, busy: BusyWith) {
    let inner = remover.clone();
    let _nobody_waits = remover.away(move || {
        let (group, dir) = (sandbox.cgroup.name().to_owned(), sandbox.dir.clone());
        drop(sandbox);
        inner.remove_both(&group, &dir);
        drop(busy);
    });
}

/// Kills by control group and by the first process's handle: either reaches everything, and the groups may have been
/// removed underneath.
pub(super) fn kill_processes(sandbox: &Sandbox) -> Result<(), EngineError> {
    let by_group = sandbox.cgroup.kill_all();
    let Some(live) = sandbox.live() else {
        return match by_group {
            Err(error) if !sandbox.cgroup.is_removed() => Err(cgroup_step("kill the sandbox")(error)),
            _ => Ok(()),
        };
    };
    sandbox.lift(&live);
    match (rustix::process::pidfd_send_signal(live.pidfd.get_ref(), rustix::process::Signal::KILL), by_group)
    {
        (Ok(()) | Err(rustix::io::Errno::SRCH), _) | (_, Ok(())) => Ok(()),
        (Err(_), Err(error)) => Err(cgroup_step("kill the sandbox")(error)),
    }
}
