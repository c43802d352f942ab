//! How fast a sandbox may read and write its own disk.
//!
//! ```text
//!   create, start of a server ──► set         the end, a kill, a capture ──► lift: what is in memory goes out at once
//! ```
//!
//! The limit stands with the loop device, in version 1 of control groups in a place that outlives the sandbox. So it is
//! lifted before the device is let go, and a create also takes away what a killed server left behind.

use std::path::Path;

use sandscope_cgroup::{CgroupError, CgroupSet, Cgroups, DeviceRates};

use super::handles::Handles;
use super::sandbox::Sandbox;

/// Sets the limits of the disk on a loop device, or takes away what is there.
pub(super) fn set(cgroup: &CgroupSet, loop_device: u32, rates: DeviceRates) -> Result<(), CgroupError> {
    cgroup.set_device_rates(&device_of(loop_device), rates)
}

/// Lets a sandbox that ends write out what it has in memory, which at its limit would take minutes.
pub(super) fn lift(sandbox: &Sandbox, live: &Handles) {
    if let Err(error) = set(&sandbox.cgroup, live.loop_device, DeviceRates::default()) {
        tracing::debug!(sandbox_id = %sandbox.id, %error, "the limits of its disk stay");
    }
}

/// Lifted until dropped.
pub(super) struct Lifted<'a> {
    sandbox: &'a Sandbox,
    live: &'a Handles,
    rates: DeviceRates,
}

impl<'a> Lifted<'a> {
    pub(super) fn of(sandbox: &'a Sandbox, live: &'a Handles, rates: DeviceRates) -> Self {
        if !rates.is_none() {
            lift(sandbox, live);
        }
        Self { sandbox, live, rates }
    }
}

impl Drop for Lifted<'_> {
    fn drop(&mut self) {
        let Self { sandbox, live, rates } = *self;
        if rates.is_none() || sandbox.is_being_killed() {
            return;
        }
        if let Err(error) = set(&sandbox.cgroup, live.loop_device, rates) {
            tracing::warn!(sandbox_id = %sandbox.id, %error, "its disk is without its limits");
        }
    }
}

/// Takes away the limits of loop devices that show nothing: whoever uses one next would have them.
pub(super) fn sweep(cgroups: &Cgroups) -> Result<(), CgroupError> {
    for device in cgroups.devices_with_rates()? {
        if is_detached_loop(&device) {
            cgroups.clear_device_rates(&device)?;
        }
    }
    Ok(())
}

fn is_detached_loop(device: &str) -> bool {
    let shown = Path::new("/sys/dev/block").join(device);
    let name = std::fs::canonicalize(&shown).unwrap_or_default();
    let is_loop = name.file_name().is_some_and(|name| name.to_string_lossy().starts_with("loop"));
    is_loop && !shown.join("loop/backing_file").exists()
}

/// `major:minor`. Where loop devices have partitions their minor numbers are not theirs by name.
fn device_of(loop_device: u32) -> String {
    let said = std::fs::read_to_string(format!("/sys/block/loop{loop_device}/dev"));
    said.map_or_else(|_| format!("7:{loop_device}"), |text| text.trim().to_owned())
}
