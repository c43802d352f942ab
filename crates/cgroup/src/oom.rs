//! Word from the kernel whenever a set runs out of memory, so that nobody has to look again and again.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;
use rustix::fs::OFlags;

use crate::controller::Controller;
use crate::error::CgroupError;
use crate::group::Group;
use crate::hierarchy::Version;

/// Becomes ready when the kernel has no memory left for the set, just before it kills; in version 1 also when the set
/// is removed. Read [`CgroupSet::n_oom_kills`](crate::CgroupSet::n_oom_kills) then: the kill is counted a moment
/// after the word.
#[derive(Debug)]
pub struct OomWatch {
    fd: OwnedFd,
    version: Version,
}

impl OomWatch {
    pub(crate) fn open(groups: &[Group]) -> Result<Self, CgroupError> {
        let memory = groups
            .iter()
            .find(|group| group.has(Controller::Memory))
            .ok_or(CgroupError::ControllerMissing(Controller::Memory))?;
        let fd = match memory.version {
            Version::V2 => memory.open_file("memory.events", OFlags::RDONLY)?.fd,
            Version::V1 => {
                let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
                let fd = rustix::event::eventfd(0, flags)
                    .map_err(|source| CgroupError::file("watch", &memory.path, source))?;
                let control = memory.open_file("memory.oom_control", OFlags::RDONLY)?;
                let order = format!("{} {}", fd.as_raw_fd(), control.fd.as_raw_fd());
                memory.write("cgroup.event_control", &order)?;
                fd
            }
        };
        Ok(Self { fd, version: memory.version })
    }

    /// Whether it becomes ready as urgent (`EPOLLPRI`) rather than as readable.
    pub const fn is_urgent(&self) -> bool {
        matches!(self.version, Version::V2)
    }

    /// Makes it unready until the next word.
    pub fn clear(&self) {
        let mut buffer = [0_u8; 1024];
        // What is read does not matter, and a set that is gone has nothing to say.
        let _ = match self.version {
            Version::V1 => rustix::io::read(&self.fd, &mut buffer),
            Version::V2 => rustix::io::pread(&self.fd, &mut buffer, 0),
        };
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl std::os::fd::AsRawFd for OomWatch {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd.as_raw_fd()
    }
}
