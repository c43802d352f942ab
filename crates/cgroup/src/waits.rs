//! Time that processes of a set waited, as totals: what is stored of it, without what a look at the details needs.
//!
//! The files are opened with the first reading, and kept where descriptors are plenty: opening one costs several times
//! what reading it does.

use crate::controller::Controller;
use crate::group::{Group, KeptFile};
use crate::hierarchy::Version;
use crate::parse;
use crate::stalled::Stalled;

/// Totals since the set was made. `None` where the kernel does not count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waits {
    /// For CPU.
    pub cpu: Option<Stalled>,
    /// For memory.
    pub memory: Option<Stalled>,
    /// For I/O.
    pub io: Option<Stalled>,
    /// Time during which threads were held back by the CPU limit, all CPUs added up, in microseconds.
    pub throttled_usec: Option<u64>,
}

/// The files behind [`Waits`], and the list of processes.
#[derive(Debug)]
pub(crate) struct WaitFiles {
    cpu: Option<KeptFile>,
    memory: Option<KeptFile>,
    io: Option<KeptFile>,
    /// Where the CPU limit is set.
    stat: Option<KeptFile>,
    /// Version 1 counts nanoseconds.
    stat_version: Version,
    processes: Option<KeptFile>,
}

impl WaitFiles {
    pub(crate) fn open(groups: &[Group]) -> Self {
        let unified = groups.iter().find(|group| group.version == Version::V2);
        let limited = groups.iter().find(|group| group.has(Controller::Cpu));
        let pressure = |file| unified?.keep(file).ok();
        Self {
            cpu: pressure("cpu.pressure"),
            memory: pressure("memory.pressure"),
            io: pressure("io.pressure"),
            stat: limited.and_then(|group| group.keep("cpu.stat").ok()),
            stat_version: limited.map_or(Version::V2, |group| group.version),
            processes: unified.or_else(|| groups.first()).and_then(|group| group.keep("cgroup.procs").ok()),
        }
    }

    pub(crate) fn read(&self) -> Waits {
        let stalled = |file: &Option<KeptFile>| file.as_ref()?.read(parse::stalled);
        let stat = |key| self.stat.as_ref()?.read(|text| parse::keyed(text, key));
        let throttled_usec = match self.stat_version {
            Version::V1 => stat("throttled_time").map(|nanoseconds| nanoseconds / 1_000),
            Version::V2 => stat("throttled_usec"),
        };
        Waits {
            cpu: stalled(&self.cpu),
            memory: stalled(&self.memory),
            io: stalled(&self.io),
            throttled_usec,
        }
    }

    /// The processes, by the host's numbers; `None` if there are more than `most`, a few hundred at most.
    pub(crate) fn few_processes(&self, most: usize) -> Option<Vec<i32>> {
        let pids = self.processes.as_ref()?.read(|text| Some(parse::pids(text)))?;
        (pids.len() <= most).then_some(pids)
    }
}
