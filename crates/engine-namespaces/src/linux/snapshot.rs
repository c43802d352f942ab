//! Capturing a sandbox's writable layer.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::handles::Handles;
use super::room::Room;
use super::sandbox::Sandbox;
use super::step::step;
use super::{disk, sys};
use sandscope_engine::EngineError;

/// Copies the sandbox's disk to `target` while its processes and its file system are frozen. Returns the bytes the
/// copy takes. Nothing is left at `target` on failure.
pub(super) fn capture(sandbox: &Sandbox, room: &Room, target: &Path, dir: &Path) -> Result<u64, EngineError> {
    let live = sandbox.live().ok_or(EngineError::NotFound)?;
    // Its processes stand still meanwhile: not for as long as they would take at their own pace.
    let _until_captured = sandbox.at_full_speed();
    let image = sandbox.dir.join(disk::IMAGE_FILE);
    // What is free inside is not worth copying.
    sys::sync_filesystem(live.disk.as_fd())
        .and_then(|()| disk::trim(live.disk.as_fd()))
        .map_err(step("write out the disk"))?;
    let bytes = std::fs::metadata(image).map_err(step("look at the disk"))?.blocks().saturating_mul(512);
    let _until_copied = room.take(bytes)?;
    sandbox.stand_still(|| copy(sandbox, &live, target, dir))?.map_err(step("copy the disk"))
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
