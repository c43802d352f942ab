//! Time that processes of a set waited, as totals: what is stored of it, without what a look at the details needs.
//!
//! The files are opened for each reading, relative to the directory that is held open: they are read every few seconds,
//! and a descriptor each would double what a thousand sets hold.

use crate::controller::Controller;
use crate::hierarchy::Version;
use crate::parse;
use crate::pressure::Stalled;
use crate::set::CgroupSet;

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

impl CgroupSet {
    /// Reads the totals: four files.
    pub fn waits(&self) -> Waits {
        let groups = self.groups();
        let unified = groups.iter().find(|group| group.version == Version::V2);
        let stalled = |file| unified?.read(file, parse::stalled);
        let limited = groups.iter().find(|group| group.has(Controller::Cpu));
        let throttled_usec = limited.and_then(|group| match group.version {
            Version::V1 => {
                group.read("cpu.stat", |text| parse::keyed(text, "throttled_time")).map(|ns| ns / 1_000)
            }
            Version::V2 => group.read("cpu.stat", |text| parse::keyed(text, "throttled_usec")),
        });
        Waits {
            cpu: stalled("cpu.pressure"),
            memory: stalled("memory.pressure"),
            io: stalled("io.pressure"),
            throttled_usec,
        }
    }
}
