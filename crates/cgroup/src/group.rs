//! One directory of one hierarchy, and its files.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::controller::Controller;
use crate::error::CgroupError;
use crate::hierarchy::Version;
use crate::parse;

/// More than any file read here holds; the kernel answers a read with the whole file if it fits.
const BUFFER_BYTES: usize = 16 * 1024;

/// A control group of one hierarchy. The directory is held open: its files are reached without walking a path.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) version: Version,
    pub(crate) controllers: Vec<Controller>,
    pub(crate) path: PathBuf,
    dir: OwnedFd,
}

impl Group {
    pub(crate) fn open(
        version: Version,
        controllers: Vec<Controller>,
        path: PathBuf,
    ) -> Result<Self, CgroupError> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(|source| CgroupError::file("open", &path, source))?;
        Ok(Self { version, controllers, path, dir })
    }

    pub(crate) fn has(&self, controller: Controller) -> bool {
        self.controllers.contains(&controller)
    }

    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The file a thread writes `0` to in order to move itself here.
    pub(crate) const fn join_file(&self) -> &'static str {
        match self.version {
            // Moving one thread takes no lock that waits for every CPU; moving a process through `cgroup.procs` does.
            Version::V1 => "tasks",
            Version::V2 => "cgroup.procs",
        }
    }

    pub(crate) fn open_file(&self, name: &str, flags: OFlags) -> Result<KeptFile, CgroupError> {
        let fd = rustix::fs::openat(&self.dir, name, flags | OFlags::CLOEXEC, Mode::empty())
            .map_err(|source| CgroupError::file("open", &self.path.join(name), source))?;
        Ok(KeptFile { fd, path: self.path.join(name) })
    }

    pub(crate) fn keep(&self, name: &str) -> Result<KeptFile, CgroupError> {
        self.open_file(name, OFlags::RDONLY)
    }

    pub(crate) fn write(&self, name: &str, value: &str) -> Result<(), CgroupError> {
        self.open_file(name, OFlags::WRONLY)?.write(value)
    }

    /// Writes where the file exists; says whether it does.
    pub(crate) fn write_if_there(&self, name: &str, value: &str) -> Result<bool, CgroupError> {
        match self.write(name, value) {
            Ok(()) => Ok(true),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn keyed(&self, name: &str, key: &'static str) -> Result<u64, CgroupError> {
        self.keep(name)?.keyed(key)
    }

    pub(crate) fn number(&self, name: &str) -> Result<u64, CgroupError> {
        self.keep(name)?.number()
    }

    /// A file's text; none where there is no such file or it cannot be read, as where a kernel counts no pressure.
    pub(crate) fn text(&self, name: &str) -> Option<Vec<u8>> {
        self.keep(name).ok()?.with_text(|text| Some(text.to_vec()), "text").ok()
    }

    /// The processes in it, however many.
    pub(crate) fn processes(&self) -> Result<Vec<i32>, CgroupError> {
        self.ids("cgroup.procs")
    }

    /// A file of processes or threads, read in pieces.
    pub(crate) fn ids(&self, name: &str) -> Result<Vec<i32>, CgroupError> {
        let file = self.keep(name)?;
        let mut text = Vec::new();
        let mut piece = [0_u8; BUFFER_BYTES];
        loop {
            let n = rustix::io::retry_on_intr(|| rustix::io::read(&file.fd, &mut piece))
                .map_err(|source| CgroupError::file("read", &file.path, source))?;
            match piece.get(..n) {
                Some([]) | None => return Ok(parse::pids(&text)),
                Some(read) => text.extend_from_slice(read),
            }
        }
    }

    /// Whether the directory is gone from the hierarchy. One that cannot be looked at for another reason is not.
    pub(crate) fn is_removed(&self) -> bool {
        match rustix::fs::openat(&self.dir, "cgroup.procs", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(_) => false,
            Err(error) => matches!(error, rustix::io::Errno::NOENT | rustix::io::Errno::NODEV),
        }
    }

    /// Whether nothing runs in it.
    pub(crate) fn is_empty(&self) -> Result<bool, CgroupError> {
        match self.version {
            Version::V2 => Ok(self.keyed("cgroup.events", "populated")? == 0),
            Version::V1 => Ok(self.processes()?.is_empty()),
        }
    }
}

/// An open control group file.
#[derive(Debug)]
pub(crate) struct KeptFile {
    pub(crate) fd: OwnedFd,
    pub(crate) path: PathBuf,
}

impl KeptFile {
    /// Reads the file from its start, as it is now.
    fn with_text<T>(
        &self,
        parse: impl FnOnce(&[u8]) -> Option<T>,
        what: &'static str,
    ) -> Result<T, CgroupError> {
        let mut buffer = [0_u8; BUFFER_BYTES];
        let n = rustix::io::retry_on_intr(|| rustix::io::pread(&self.fd, &mut buffer, 0))
            .map_err(|source| CgroupError::file("read", &self.path, source))?;
        buffer
            .get(..n)
            .and_then(parse)
            .ok_or_else(|| CgroupError::Malformed { path: self.path.clone(), what })
    }

    /// What is read out of the file; none where it cannot be read.
    pub(crate) fn read<T>(&self, parse: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        self.with_text(parse, "text").ok()
    }

    pub(crate) fn number(&self) -> Result<u64, CgroupError> {
        self.with_text(parse::number, "number")
    }

    pub(crate) fn keyed(&self, key: &'static str) -> Result<u64, CgroupError> {
        self.with_text(|text| parse::keyed(text, key), key)
    }

    /// The values of several keys at one moment. The last may be missing: 0.
    pub(crate) fn keys(&self, keys: [&'static str; 4]) -> Result<[u64; 4], CgroupError> {
        let [first, second, third, last] = keys;
        let read = |text: &[u8]| {
            let last = parse::keyed(text, last).unwrap_or(0);
            Some([parse::keyed(text, first)?, parse::keyed(text, second)?, parse::keyed(text, third)?, last])
        };
        self.with_text(read, first)
    }

    pub(crate) fn text_is(&self, value: &str) -> Result<bool, CgroupError> {
        self.with_text(|text| Some(text.trim_ascii() == value.as_bytes()), "state")
    }

    pub(crate) fn write(&self, value: &str) -> Result<(), CgroupError> {
        let n = rustix::io::retry_on_intr(|| rustix::io::write(&self.fd, value.as_bytes()))
            .map_err(|source| CgroupError::file("write", &self.path, source))?;
        if n == value.len() {
            return Ok(());
        }
        Err(CgroupError::file("write", &self.path, io::Error::from(io::ErrorKind::WriteZero)))
    }
}

/// Makes a directory; says whether it was there before.
pub(crate) fn make_dir(path: &Path) -> Result<bool, CgroupError> {
    match std::fs::create_dir(path) {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(true),
        Err(source) => Err(CgroupError::file("create", path, source)),
    }
}
