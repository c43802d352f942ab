//! How a data directory is recognised: by what a copy of it cannot have.
//!
//! | compared | a copy has another | it stays the same |
//! |---|---|---|
//! | the host's id | on another host | over restarts |
//! | inode and birth of the directory | always | when it is renamed within its file system, over restarts |
//! | the same of `facts.sqlite` | where a backup was put in its place | while SQLite writes to it |
//! | the device of the directory, within one boot of the host | as a snapshot of the whole file system | until it is mounted anew |
//!
//! What a host or a file system does not say is not compared. A device without hardware behind it (an overlay, a
//! subvolume, a share) has a number that changes when it is mounted, and is left out.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

const MACHINE_ID: &str = "/etc/machine-id";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Where a data directory is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Only to be shown.
    pub(crate) path: PathBuf,
    /// Only to be shown.
    pub(crate) host: String,
    machine: Option<String>,
    boot: Option<String>,
    device: u64,
    directory: Inode,
    database: Inode,
}

/// A file, distinguished from later ones with the same number by its birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Inode {
    number: u64,
    /// In nanoseconds since 1970, where the file system says so.
    born_ns: Option<u64>,
}

impl Inode {
    fn of(found: &Metadata) -> Self {
        let born = found.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        Self { number: found.ino(), born_ns: born.and_then(|born| u64::try_from(born.as_nanos()).ok()) }
    }

    fn is(self, other: Self) -> bool {
        self.number == other.number && agree(self.born_ns.as_ref(), other.born_ns.as_ref())
    }
}

/// What tells a directory from the one it was copied from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// It is on another host.
    Host,
    /// It is another directory.
    Directory,
    /// Its database is another file.
    Database,
}

impl Difference {
    /// What happened, in words.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Host => "it was made on another host",
            Self::Directory => "it is a copy, or was moved from another file system",
            Self::Database => "its facts.sqlite was replaced, as by a backup",
        }
    }
}

impl Place {
    /// The place at `dir`, as it is now.
    pub(crate) fn of(dir: &Path, database: &str) -> io::Result<Self> {
        let found = std::fs::symlink_metadata(dir)?;
        let text = |path| {
            let text = std::fs::read_to_string(path).ok()?;
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        Ok(Self {
            path: dir.to_owned(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            machine: text(MACHINE_ID),
            boot: text(BOOT_ID),
            device: found.dev(),
            directory: Inode::of(&found),
            database: Inode::of(&std::fs::symlink_metadata(dir.join(database))?),
        })
    }

    /// How `now` is another place than this one, if it is.
    pub(crate) fn differs_from(&self, now: &Self) -> Option<Difference> {
        if !agree(self.machine.as_ref(), now.machine.as_ref()) {
            return Some(Difference::Host);
        }
        let has_hardware = |device| rustix::fs::major(device) != 0;
        let is_comparable = self.boot.is_some()
            && self.boot == now.boot
            && has_hardware(self.device)
            && has_hardware(now.device);
        if !self.directory.is(now.directory) || (is_comparable && self.device != now.device) {
            return Some(Difference::Directory);
        }
        (!self.database.is(now.database)).then_some(Difference::Database)
    }
}

/// Whether both say the same, or one says nothing.
fn agree<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
    one.zip(other).is_none_or(|(one, other)| one == other)
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
