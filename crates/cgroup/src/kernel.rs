//! What the kernel uses for a set and charges it for, read on request: three files, opened for each reading.

use crate::controller::Controller;
use crate::hierarchy::Version;
use crate::parse;
use crate::set::CgroupSet;

/// What the kernel uses for a set. Zero also where it does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KernelUse {
    /// Memory of its own that it charges to the set, in bytes; what it could take back included.
    pub memory_bytes: u64,
    /// CPU time that the set's processes spent in the kernel, in microseconds.
    pub system_usec: u64,
}

impl CgroupSet {
    /// Reads what the kernel uses for the set.
    pub fn kernel(&self) -> KernelUse {
        let with = |controller| self.groups().iter().find(|group| group.has(controller));
        let keyed = |text: Option<Vec<u8>>, key| text.and_then(|text| parse::keyed(&text, key));
        let number = |text: Option<Vec<u8>>| text.and_then(|text| parse::number(&text));
        let memory = with(Controller::Memory).and_then(|group| match group.version {
            Version::V1 => number(group.text("memory.kmem.usage_in_bytes")),
            Version::V2 => keyed(group.text("memory.stat"), "kernel"),
        });
        let unified = self.groups().iter().find(|group| group.version == Version::V2);
        let system = match unified {
            Some(group) => keyed(group.text("cpu.stat"), "system_usec"),
            None => with(Controller::Cpuacct)
                .and_then(|group| number(group.text("cpuacct.usage_sys")))
                .map(|nanoseconds| nanoseconds / 1_000),
        };
        KernelUse { memory_bytes: memory.unwrap_or_default(), system_usec: system.unwrap_or_default() }
    }
}
