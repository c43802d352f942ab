//! The resource controllers that sandboxes use.

use std::fmt;

/// A resource controller of the kernel, as far as sandboxes use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Controller {
    /// CPU bandwidth.
    Cpu,
    /// CPU time used; part of every control group in version 2.
    Cpuacct,
    /// Memory: limit, use, kills for lack of it.
    Memory,
    /// Number of processes and threads.
    Pids,
    /// Device access, version 1.
    Devices,
    /// Freezing, version 1.
    Freezer,
    /// Use of block devices; called `blkio` in version 1.
    Io,
    /// Which CPUs are used.
    Cpuset,
}

impl Controller {
    pub(crate) const ALL: [Self; 8] = [
        Self::Cpu,
        Self::Cpuacct,
        Self::Memory,
        Self::Pids,
        Self::Devices,
        Self::Freezer,
        Self::Io,
        Self::Cpuset,
    ];

    /// The kernel's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Devices => "devices",
            Self::Freezer => "freezer",
            Self::Io => "io",
            Self::Cpuset => "cpuset",
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        if name == "blkio" {
            return Some(Self::Io);
        }
        Self::ALL.into_iter().find(|controller| controller.name() == name)
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
