//! Opening a file that a client names. Only regular ones are opened, nothing is waited for, and what leads to the agent
//! itself leads nowhere: `/proc/self` would be the agent, and nobody means that.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags, fstatfs};

use crate::place::{Last, Owner, Place, denied};
use crate::rights::Rights;

/// The magic number of `/proc`.
const PROC: u64 = 0x9fa0;

/// The inode of the root of any `/proc`.
const PROC_ROOT: u64 = 1;

/// How often a file that comes and goes is tried.
const MAX_TRIES: usize = 8;

/// Neither waits nor becomes a terminal's.
const FLAGS: OFlags = OFlags::CLOEXEC.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Opens the file for reading.
pub(crate) fn read(path: &str) -> io::Result<File> {
    checked(Place::find(path, Last::Followed, None)?.open(OFlags::RDONLY | FLAGS, Mode::empty())?)
}

/// Opens the file for reading, if `reader` could do that as well, all the way there.
pub(crate) fn read_for(path: &str, reader: &Rights) -> io::Result<File> {
    let found = read(path)?;
    if reader.are_own() {
        return Ok(found);
    }
    let theirs = {
        let _assumed = reader.assume()?;
        checked(rustix::fs::open(path, OFlags::RDONLY | FLAGS, Mode::empty())?.into())?
    };
    // Each of the two may have gone another way.
    if Identity::of(&found)? == Identity::of(&theirs)? {
        Ok(theirs)
    } else {
        Err(denied("it was exchanged while it was opened"))
    }
}

/// Which file it is, as long as somebody holds it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from(&file.metadata()?))
    }
}

impl From<&fs::Metadata> for Identity {
    fn from(found: &fs::Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}

/// A file that is open for writing.
pub(crate) struct Writable {
    pub(crate) file: File,
    pub(crate) place: Place,
    /// Whether it was missing.
    pub(crate) made: bool,
}

/// Opens the file for writing. Makes it, and the directories above it, where they are missing.
pub(crate) fn write(path: &str, owner: Owner) -> io::Result<Writable> {
    let place = Place::find(path, Last::Followed, Some(owner))?;
    let flags = OFlags::WRONLY | FLAGS;
    for _ in 0..MAX_TRIES {
        match place.open(flags | OFlags::CREATE | OFlags::EXCL, Mode::from_raw_mode(0o644)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            file => return Ok(Writable { file: file?, place, made: true }),
        }
        // Not to be made: in directories where everybody may, the kernel refuses even root to make what is there and
        // somebody else's (`fs.protected_regular`).
        match place.open(flags, Mode::empty()) {
            // Gone in between.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            file => return Ok(Writable { file: checked(file?)?, place, made: false }),
        }
    }
    Err(io::Error::other("it comes and goes"))
}

fn checked(file: File) -> io::Result<File> {
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if !found.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    if is_own(&file)? {
        return Err(denied("it is about the sandbox's agent"));
    }
    Ok(file)
}

/// Whether it is a file that `/proc` makes up about this process. One that cannot be told counts as such.
fn is_own(file: &File) -> io::Result<bool> {
    if fstatfs(file)?.f_type as u64 != PROC {
        return Ok(false);
    }
    let device = file.metadata()?.dev();
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let is_root = |path: &Path| {
        fs::symlink_metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == (device, PROC_ROOT))
    };
    let Some(root) = path.ancestors().find(|path| is_root(path)) else { return Ok(true) };
    let below = path.strip_prefix(root).unwrap_or(&path);
    let mut names = below.components().map(|name| name.as_os_str().as_encoded_bytes());
    let Some(id) = names.next() else { return Ok(true) };
    // Each of our threads has a directory there as well.
    let task = |id: &[u8]| Path::new("/proc/self/task").join(OsStr::from_bytes(id));
    if !id.iter().all(u8::is_ascii_digit) || !task(id).exists() {
        return Ok(false);
    }
    let mut name = names.next();
    if name == Some(b"task") {
        name = names.nth(1);
    }
    // `/proc/net` and `/proc/mounts` lead here: they are about the whole sandbox.
    Ok(!matches!(name, Some(b"net" | b"mounts" | b"mountinfo")))
}
