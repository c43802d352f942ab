//! CPUs that others want: how much all sets use of them, and a set that lets the others go first.

use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

use crate::cgroups::Cgroups;
use crate::controller::Controller;
use crate::error::CgroupError;
use crate::group::{Group, KeptFile};
use crate::half::HalfPlace;
use crate::hierarchy::Version;
use crate::parse;
use crate::set::CgroupSet;

/// Where the kernel counts the time in which a task waited for a CPU, on the whole host.
const PRESSURE: &str = "/proc/pressure/cpu";
/// The kernel's file, from Linux 5.15 on, in both versions.
const IDLE: &str = "cpu.idle";

/// How CPUs were used until now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuLoad {
    /// CPU time of all sets under the parent together, of other owners' too, in microseconds.
    pub usage_usec: u64,
    /// Time during which at least one task of the host waited for a CPU, in microseconds. Zero where the kernel does not
    /// count it.
    pub waited_usec: u64,
}

/// Reads [`CpuLoad`]: two small files that are kept open.
#[derive(Debug)]
pub struct CpuMeter {
    usage: KeptFile,
    version: Version,
    pressure: Option<KeptFile>,
}

impl CpuMeter {
    /// Reads both.
    ///
    /// # Errors
    ///
    /// The parent group is gone.
    pub fn read(&self) -> Result<CpuLoad, CgroupError> {
        let usage_usec = match self.version {
            Version::V1 => self.usage.number()? / 1_000,
            Version::V2 => self.usage.keyed("usage_usec")?,
        };
        let pressure = self.pressure.as_ref().and_then(|file| file.read(parse::stalled));
        Ok(CpuLoad { usage_usec, waited_usec: pressure.map_or(0, |stalled| stalled.some_usec) })
    }
}

impl Cgroups {
    /// Opens what says how all sets together use the CPUs.
    ///
    /// # Errors
    ///
    /// There is no parent group.
    pub fn cpu_meter(&self) -> Result<CpuMeter, CgroupError> {
        let parent = self.cpu_time_parent()?;
        let file = match parent.version {
            Version::V1 => "cpuacct.usage",
            Version::V2 => "cpu.stat",
        };
        let usage = Group::open(parent.version, Vec::new(), parent.dir.clone())?.keep(file)?;
        let pressure = rustix::fs::open(PRESSURE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok();
        let pressure = pressure.map(|fd| KeptFile { fd, path: PathBuf::from(PRESSURE) });
        Ok(CpuMeter { usage, version: parent.version, pressure })
    }
}

impl Cgroups {
    /// Removes what [`CgroupSet::keep_to_half`] made beside the sets' own groups, if no set needs it; says whether it is
    /// gone. What ends, or was let go a moment ago, may need it still.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn clear_half(&self) -> Result<bool, CgroupError> {
        self.places().half.as_ref().map_or(Ok(true), HalfPlace::remove)
    }
}

impl CgroupSet {
    /// Lets every set that does not yield, too, have a CPU at once that this one has; it takes what they leave. Between
    /// two sets that yield nothing changes, and neither do the limits. Says whether the kernel knows of it.
    ///
    /// # Errors
    ///
    /// The kernel refuses, or the set was removed.
    pub fn set_yields(&self, yields: bool) -> Result<bool, CgroupError> {
        let group = self.groups().iter().find(|group| group.has(Controller::Cpu));
        let group = group.ok_or(CgroupError::ControllerMissing(Controller::Cpu))?;
        group.write_if_there(IDLE, if yields { "1" } else { "0" })
    }
}
