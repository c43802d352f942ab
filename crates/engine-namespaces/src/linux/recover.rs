//! Taking sandboxes back after a restart of the server.
//!
//! | found | meaning | done |
//! |---|---|---|
//! | record, processes alive, standing still | paused | held again |
//! | the same, with a checkpoint's mark | a checkpoint was cut short | thawed, held again |
//! | the same, with the mark of a want of room | the host's disk had no room for it | thawed, held again; stopped again if need be |
//! | record, processes alive | running | held again |
//! | record, processes gone | died meanwhile | exit read from the shim's record; kept until killed |
//! | the same, without the shim's record | the shim was killed, too | dead, nobody saw how; kept until killed |
//! | record, processes alive, control groups or disk gone | it cannot be used or held any more | its processes are ended; kept until killed |
//! | the same, with a disk that lies elsewhere and control groups of another owner | the directory was copied from there | nothing is touched but the record |
//! | record of another boot | the host restarted | dead, nobody saw how; kept until killed |
//! | no record | half made, never reported | removed |
//!
//! In a state directory that was adopted nothing is taken back; see `former`.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use sandscope_engine::{EngineError, Found, FoundState};
use sandscope_model::{Cause, Exit, SandboxId};
use tokio::task::JoinSet;

use super::handles::{Handles, Search, Shown, shown};
use super::layout::Layout;
use super::protocol::Made;
use super::record::{self, CHECKPOINT_FILE, CONDEMNED_FILE, HELD_FILE, SANDBOX_FILE, SandboxRecord};
use super::sandbox::Sandbox;
use super::shared::Shared;
use super::step::{blocking, cgroup_step, step};
use super::{disk, disk_rates, former, pools, room, sys, yields};

/// Takes back every sandbox there is, removes what has no record, and starts to fill the shelf.
pub(super) async fn recover(shared: &Arc<Shared>) -> Result<Vec<Found>, EngineError> {
    let boot_id = record::boot_id().map_err(step("read the boot id"))?;
    if shared.preparer.options.is_adopted {
        former::forget(shared).await?;
    }
    let mut found = Vec::new();
    let mut removing = JoinSet::new();
    for id in ids_on_disk(&shared.layout)? {
        let record = record::read::<SandboxRecord>(&shared.layout.sandbox_dir(&id), SANDBOX_FILE);
        match record {
            Ok(Some(record)) => found.push(take_back(shared, id, record, &boot_id).await?),
            Ok(None) => remove_beside(shared, &mut removing, id),
            Err(error) => {
                tracing::error!(sandbox_id = %id, %error, "unreadable record; removing the sandbox");
                remove_beside(shared, &mut removing, id);
            }
        }
    }
    // All at once: each may take a while to die.
    removing.join_all().await;
    shared.shelf.sweep().await?;
    sweep(shared, found.is_empty()).await?;
    shared.shelf.start(&shared.tasks);
    pools::start(shared);
    room::start(shared);
    yields::start(shared)?;
    Ok(found)
}

fn remove_beside(shared: &Arc<Shared>, removing: &mut JoinSet<()>, id: SandboxId) {
    let shared = Arc::clone(shared);
    removing.spawn(async move { shared.remove_remains(&id).await });
}

fn ids_on_disk(layout: &Layout) -> Result<Vec<SandboxId>, EngineError> {
    let list = || -> io::Result<Vec<SandboxId>> {
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(layout.sandboxes_dir())? {
            ids.extend(entry?.file_name().to_str().and_then(|name| name.parse().ok()));
        }
        Ok(ids)
    };
    list().map_err(step("look for sandboxes"))
}

async fn take_back(
    shared: &Arc<Shared>,
    id: SandboxId,
    record: SandboxRecord,
    boot_id: &str,
) -> Result<Found, EngineError> {
    let looking = Arc::clone(shared);
    let same_boot = record.boot_id == boot_id;
    let looked_for = id.clone();
    let looked =
        blocking("look at a sandbox", move || look_at(&looking, looked_for, &record, same_boot)).await?;
    let Some((sandbox, state)) = looked else {
        tracing::warn!(sandbox_id = %id, "its disk and its processes are another data directory's; they are left alone");
        return Ok(Found { id, state: FoundState::Dead(Exit::of_cause(Cause::DirectoryAdopted)) });
    };
    if sandbox.live().is_none() {
        // Its end is reported by what this returns, not by a notice.
        sandbox.begin_kill();
    }
    shared.room.welcome(&sandbox);
    shared.sandboxes.adopt(sandbox);
    Ok(Found { id, state })
}

/// `None` if it is another owner's.
fn look_at(
    shared: &Shared,
    id: SandboxId,
    record: &SandboxRecord,
    same_boot: bool,
) -> Result<Option<(Arc<Sandbox>, FoundState)>, EngineError> {
    let dir = shared.layout.sandbox_dir(&id);
    let image = dir.join(disk::IMAGE_FILE);
    let search = if same_boot {
        Handles::find(&record.made, &image).map_err(step("find the sandbox"))?
    } else {
        Search::Gone
    };
    // Before anything is opened: what is another's must not be held, let alone ended.
    if matches!(search, Search::WithAnotherDisk(_)) && !shared.cgroups.is_own(&record.cgroup_name) {
        return Ok(None);
    }
    let has_groups = record.cgroup_dirs.iter().all(|dir| dir.is_dir());
    let opened = shared
        .cgroups
        .open_dirs(&record.cgroup_name, &record.cgroup_dirs)
        .map_err(cgroup_step("open the sandbox's control groups"))?;
    let cgroup = match opened {
        Some(cgroup) => cgroup,
        // Gone, as after a restart of the host: an empty one takes its place until the sandbox is killed.
        None => shared
            .cgroups
            .create(&record.cgroup_name)
            .map_err(cgroup_step("make the sandbox's control groups"))?,
    };
    if matches!(search, Search::Gone) {
        release_disk(&record.made, &image);
    }
    if let Search::Found(live) = &search
        && let (Some(view), Some(size)) = (&live.view, record.size)
    {
        view.go_on(size, record.made.init.started, SystemTime::now());
    }
    let (live, unusable) = match search {
        Search::Found(live) if has_groups => (Some(*live), None),
        Search::Found(live) => {
            end(live.pidfd.get_ref());
            (None, Some(Cause::ControlGroupsRemoved))
        }
        Search::WithoutDisk(pidfd) | Search::WithAnotherDisk(pidfd) => {
            end(&pidfd);
            (None, Some(Cause::DiskMissing))
        }
        Search::Gone => (None, None),
    };
    let rates = shared.preparer.options.disk_rates;
    if let Some(live) = &live {
        // Another server may have set others.
        disk_rates::set(&cgroup, live.loop_device, rates).map_err(cgroup_step("limit the sandbox's disk"))?;
        // It was to be ended and was not; if it still is to be, that is found again.
        let _none = std::fs::remove_file(dir.join(CONDEMNED_FILE));
    }
    let sandbox = Sandbox::new(id, dir, cgroup, record.baseline, live, rates);
    settle(&sandbox)?;
    let state = match unusable {
        Some(cause) => FoundState::Dead(Exit::of_cause(cause)),
        None if sandbox.live().is_none() => FoundState::Dead(sandbox.found_dead(same_boot, has_groups)),
        None if sandbox.is_paused() => FoundState::Paused,
        None => FoundState::Running,
    };
    Ok(Some((Arc::new(sandbox), state)))
}

/// Removes what belongs to no sandbox.
async fn sweep(shared: &Arc<Shared>, no_sandboxes: bool) -> Result<(), EngineError> {
    let shared = Arc::clone(shared);
    let sweep = move || -> io::Result<()> {
        disk_rates::sweep(&shared.cgroups).map_err(io::Error::other)?;
        for dir in std::fs::read_dir(shared.layout.trash_dir())? {
            std::fs::remove_dir_all(dir?.path())?;
        }
        for name in std::fs::read_dir(shared.layout.disks_dir())? {
            std::fs::remove_file(name?.path())?;
        }
        for file in std::fs::read_dir(shared.layout.snapshots_dir())? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "new") {
                std::fs::remove_file(path)?;
            }
        }
        if no_sandboxes {
            sandscope_host_base::remove_others(&shared.layout.base_dir(), &shared.preparer.base)
        } else {
            Ok(())
        }
    };
    blocking("sweep the state directory", move || sweep().map_err(step("sweep the state directory"))).await
}

/// A file system that was frozen for a checkpoint outlives everything that used it until it is thawed, and its loop
/// device with it.
fn release_disk(made: &Made, image: &Path) {
    if matches!(shown(made.loop_device, image), Ok(Shown::This)) {
        disk::thaw_loop(made.loop_device);
    }
}

/// Ends a first process, and everything in its sandbox with it.
pub(super) fn end(pidfd: &OwnedFd) {
    let _already_dead = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
}

/// Ends what a crash cut short, and notes whether the sandbox is paused.
fn settle(sandbox: &Sandbox) -> Result<(), EngineError> {
    let Some(live) = sandbox.live() else { return Ok(()) };
    sys::thaw_filesystem(live.disk.as_fd()).map_err(step("thaw the disk"))?;
    for marker in [CHECKPOINT_FILE, HELD_FILE].map(|name| sandbox.dir.join(name)) {
        if marker.exists() {
            sandbox.cgroup.thaw().map_err(cgroup_step("thaw the sandbox"))?;
            std::fs::remove_file(&marker).map_err(step("note that the sandbox goes on"))?;
        }
    }
    let frozen = sandbox.cgroup.is_frozen().map_err(cgroup_step("look at the sandbox"))?;
    sandbox.set_paused(frozen);
    Ok(())
}
