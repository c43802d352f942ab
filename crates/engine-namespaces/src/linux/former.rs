//! What an adopted state directory says of its former owner's sandboxes.
//!
//! They stayed where they were, so the records go, with the copies of their disks, and nothing that a record names is
//! touched. One case is different: a directory that was moved from another file system is a copy whose original is gone.
//! Sandboxes that still live there are nobody's and never will be anybody's again; they are ended.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;

use sandscope_engine::EngineError;

use super::handles::hold;
use super::record::{self, SANDBOX_FILE, SandboxRecord};
use super::recover::end;
use super::removal::Remover;
use super::shared::Shared;
use super::step::{blocking, step};
use super::{disk, sys};

/// Removes them all.
pub(super) async fn forget(shared: &Arc<Shared>) -> Result<(), EngineError> {
    let shared = Arc::clone(shared);
    let forget = move || -> io::Result<()> {
        let boot_id = record::boot_id()?;
        for dir in [shared.layout.sandboxes_dir(), shared.layout.warm_dir()] {
            for entry in std::fs::read_dir(dir)? {
                let dir = entry?.path();
                // Made by a start that was cut short while it adopted: swept like any other.
                let is_own = |name: &str| shared.cgroups.is_own(name);
                if dir.file_name().and_then(OsStr::to_str).is_some_and(is_own) {
                    continue;
                }
                end_nobodys(&shared.remover, &dir, &boot_id);
                shared.remover.throw_away(&dir);
            }
        }
        Ok(())
    };
    let what = "forget the former owner's sandboxes";
    blocking(what, move || forget().map_err(step(what))).await
}

/// Ends a sandbox whose state directory is gone from the host.
fn end_nobodys(remover: &Remover, dir: &Path, boot_id: &str) {
    let Ok(Some(record)) = record::read::<SandboxRecord>(dir, SANDBOX_FILE) else { return };
    if record.boot_id != boot_id {
        return;
    }
    let Ok(Some(pidfd)) = hold(record.made.init) else { return };
    if is_nobodys(record.made.loop_device) {
        tracing::warn!(group = record.cgroup_name, "ending a sandbox whose data directory is gone");
        end(&pidfd);
        remover.remove_recorded(&record.cgroup_name, &record.cgroup_dirs);
    }
}

/// Whether the device shows a file that was removed together with the state directory it lay in.
fn is_nobodys(loop_device: u32) -> bool {
    let Some((file, has_name)) = sys::backing_file(loop_device) else { return false };
    !has_name && disk::state_of(&file).is_some_and(|state| matches!(state.try_exists(), Ok(false)))
}
