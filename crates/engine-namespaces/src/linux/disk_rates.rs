//! How fast a sandbox may read and write its own disk.
//!
//! ```text
//!   create, start of a server ──► set
//!   pause, capture, room on the host ──► at full speed for as long ──► set again
//!   the end, a kill ──► lifted: what is in memory goes out at once
//! ```
//!
//! Only what programs do of themselves has that pace. What the server asks of a disk does not: processes that wait for
//! their disk cannot be frozen, and one slow disk would keep the server from all others.
//!
//! The limit stands with the loop device, in version 1 of control groups in a place that outlives the sandbox. So it is
//! lifted before the device is let go, and a create also takes away what a killed server left behind.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use sandscope_cgroup::{CgroupError, CgroupSet, Cgroups, DeviceRates};

use super::handles::Handles;
use super::sandbox::Sandbox;

/// What a sandbox may do to its disk, and how many need it faster just now.
#[derive(Debug)]
pub(crate) struct Pace {
    rates: DeviceRates,
    lifted: Mutex<u32>,
}

impl Pace {
    pub(super) fn new(rates: DeviceRates) -> Self {
        Self { rates, lifted: Mutex::default() }
    }
}

/// Sets the limits of the disk on a loop device, or takes away what is there.
pub(super) fn set(cgroup: &CgroupSet, loop_device: u32, rates: DeviceRates) -> Result<(), CgroupError> {
    cgroup.set_device_rates(&device_of(loop_device), rates)
}

/// Until dropped, or until the sandbox ends.
pub(super) struct FullSpeed<'a> {
    sandbox: &'a Sandbox,
    /// Held, so that the device is not another's meanwhile.
    live: Option<Arc<Handles>>,
}

impl Sandbox {
    /// Its disk as fast as the host's, for what the server asks of it.
    pub(super) fn at_full_speed(&self) -> FullSpeed<'_> {
        let live = self.live().filter(|_| !self.pace.rates.is_none());
        if let Some(live) = &live {
            let mut lifted = self.pace.lifted.lock().unwrap_or_else(PoisonError::into_inner);
            *lifted += 1;
            if *lifted == 1 {
                self.lift(live);
            }
        }
        FullSpeed { sandbox: self, live }
    }

    /// Lets a sandbox that ends write out what it has in memory, which at its limit would take minutes.
    pub(super) fn lift(&self, live: &Handles) {
        if let Err(error) = set(&self.cgroup, live.loop_device, DeviceRates::default()) {
            tracing::debug!(sandbox_id = %self.id, %error, "the limits of its disk stay");
        }
    }
}

impl Drop for FullSpeed<'_> {
    fn drop(&mut self) {
        let Some(live) = &self.live else { return };
        let Pace { rates, lifted } = &self.sandbox.pace;
        let mut lifted = lifted.lock().unwrap_or_else(PoisonError::into_inner);
        *lifted = lifted.saturating_sub(1);
        if *lifted > 0 || self.sandbox.is_being_killed() {
            return;
        }
        if let Err(error) = set(&self.sandbox.cgroup, live.loop_device, *rates) {
            tracing::warn!(sandbox_id = %self.sandbox.id, %error, "its disk is without its limits");
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
