//! Capturing a sandbox's writable layer.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use super::handles::Handles;
use super::record::CHECKPOINT_FILE;
use super::sandbox::Sandbox;
use super::step::{cgroup_step, step};
use super::{disk, sys};
use sandscope_engine::EngineError;

/// Copies the sandbox's disk to `target` while its processes and its file system are frozen. Returns the bytes the
/// copy takes. Nothing is left at `target` on failure.
pub(super) fn capture(sandbox: &Sandbox, target: &Path, dir: &Path) -> Result<u64, EngineError> {
    let live = sandbox.live().ok_or(EngineError::NotFound)?;
    let marker = sandbox.dir.join(CHECKPOINT_FILE);
    let was_running = !sandbox.is_paused();
    if was_running {
        // Lets a start after a crash distinguish this freeze from a pause.
        File::create(&marker).map_err(step("note the checkpoint"))?;
        sandbox.set_capturing(true);
        sandbox.cgroup.freeze().map_err(cgroup_step("freeze the sandbox"))?;
    }
    let copied = copy(sandbox, &live, target, dir);
    if was_running {
        sandbox.cgroup.thaw().map_err(cgroup_step("thaw the sandbox"))?;
        sandbox.set_capturing(false);
        std::fs::remove_file(&marker).map_err(step("note the checkpoint's end"))?;
    }
    copied.map_err(step("copy the disk"))
}

fn copy(sandbox: &Sandbox, live: &Handles, target: &Path, dir: &Path) -> io::Result<u64> {
    let unfinished = target.with_extension("new");
    remove_if_there(&unfinished)?;
    sys::freeze_filesystem(live.disk.as_fd())?;
    let copy = disk::copy_image(&sandbox.dir.join(disk::IMAGE_FILE), &unfinished);
    let thawed = sys::thaw_filesystem(live.disk.as_fd());
    let finish = || {
        let copy = copy?;
        thawed?;
        copy.sync_all()?;
        std::fs::rename(&unfinished, target)?;
        File::open(dir)?.sync_all()?;
        disk::bytes_on_disk(&copy)
    };
    let outcome = finish();
    if outcome.is_err() {
        remove_if_there(&unfinished)?;
    }
    outcome
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
