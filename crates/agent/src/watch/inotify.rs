//! The kernel's side: one inotify instance, its watches, and what it says.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use sandscope_agent_protocol::filesystem::EventType;
use sandscope_agent_protocol::{Code, ConnectError};
use tokio::io::unix::AsyncFd;

use super::failure::exhausted;
use super::watcher::Watcher;

/// Read from the kernel at a time: some hundred events.
pub(super) const BUFFER_BYTES: usize = 16 * 1024;

/// Of everything the kernel reports of a directory, what makes an event.
const ALL: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::ONLYDIR);

/// What the kernel says.
pub(super) struct Raw {
    pub(super) watch: i32,
    pub(super) flags: ReadFlags,
    /// The same for both halves of a move.
    pub(super) cookie: u32,
    /// `None` where the watched directory itself is meant.
    pub(super) name: Option<OsString>,
}

/// One inotify instance.
pub(super) struct Inotify(AsyncFd<OwnedFd>);

impl Inotify {
    #[expect(unsafe_code, reason = "tokio cannot know that a descriptor stays the same one")]
    pub(super) fn new() -> Result<Self, ConnectError> {
        let opened =
            inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(|errno| match errno {
                Errno::MFILE | Errno::NFILE => {
                    exhausted("the sandbox has used up its inotify instances (fs.inotify.max_user_instances)")
                }
                errno => ConnectError::new(Code::Internal, format!("cannot watch: {errno}")),
            })?;
        // SAFETY: an `OwnedFd` names one open descriptor for as long as it lives, and nobody takes it out of the
        // `AsyncFd` again.
        let inotify = unsafe { AsyncFd::register(opened) };
        let inotify = inotify.map_err(|error| {
            ConnectError::new(Code::Internal, format!("cannot watch: {}", io::Error::from(error)))
        })?;
        Ok(Self(inotify))
    }

    /// Adds a watch of the directory that `watcher` calls `at`, and returns its number. The root may be a link and must
    /// be there; another directory that has gone is `None`.
    pub(super) fn add(&self, watcher: &Watcher, at: &Path) -> Result<Option<i32>, ConnectError> {
        let root = at.as_os_str().is_empty();
        let flags = if root { ALL } else { ALL | WatchFlags::DONT_FOLLOW };
        match inotify::add_watch(self.0.get_ref(), watcher.root.join(at), flags) {
            Ok(watch) => Ok(Some(watch)),
            Err(Errno::NOSPC) => {
                Err(exhausted("the sandbox has used up its inotify watches (fs.inotify.max_user_watches)"))
            }
            Err(Errno::NOMEM) => Err(exhausted("no memory for more watched directories")),
            Err(Errno::NAMETOOLONG) => Err(exhausted("a directory is too deep to be watched")),
            Err(errno) if root => {
                let path = watcher.root.display();
                Err(ConnectError::new(Code::NotFound, format!("path not found: {path}: {errno}")))
            }
            Err(_) => Ok(None),
        }
    }

    pub(super) fn remove(&self, watch: i32) {
        // Its directory may have gone, and the watch with it.
        let _ = inotify::remove_watch(self.0.get_ref(), watch);
    }

    /// Waits until the kernel has something to say and adds it to `batch`. Whether that was all for now; `None` where
    /// nothing will come any more.
    pub(super) async fn read(&self, buffer: &mut [MaybeUninit<u8>], batch: &mut Vec<Raw>) -> Option<bool> {
        let mut ready = self.0.readable().await.ok()?;
        match read(self.0.get_ref(), buffer, batch) {
            Ok(()) | Err(Errno::INTR) => Some(false),
            Err(Errno::AGAIN) => {
                ready.clear_ready();
                Some(true)
            }
            Err(_) => None,
        }
    }
}

/// One read, decoded.
fn read(inotify: &OwnedFd, buffer: &mut [MaybeUninit<u8>], batch: &mut Vec<Raw>) -> rustix::io::Result<()> {
    let mut reader = Reader::new(inotify, buffer);
    loop {
        let event = reader.next()?;
        batch.push(Raw {
            watch: event.wd(),
            flags: event.events(),
            cookie: event.cookie(),
            name: event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned()),
        });
        if reader.is_buffer_empty() {
            return Ok(());
        }
    }
}

impl Raw {
    /// What happened to a name in the watched directory.
    pub(super) fn event_type(&self) -> Option<EventType> {
        let types = [
            (ReadFlags::CREATE | ReadFlags::MOVED_TO, EventType::Create),
            (ReadFlags::DELETE, EventType::Remove),
            (ReadFlags::MOVED_FROM, EventType::Rename),
            (ReadFlags::MODIFY, EventType::Write),
            (ReadFlags::ATTRIB, EventType::Chmod),
        ];
        types.into_iter().find_map(|(any, event_type)| self.flags.intersects(any).then_some(event_type))
    }

    /// What happened to the watched directory itself.
    pub(super) fn own_event_type(&self) -> Option<EventType> {
        let types = [
            (ReadFlags::DELETE_SELF | ReadFlags::UNMOUNT, EventType::Remove),
            (ReadFlags::MOVE_SELF, EventType::Rename),
            (ReadFlags::ATTRIB, EventType::Chmod),
        ];
        types.into_iter().find_map(|(any, event_type)| self.flags.intersects(any).then_some(event_type))
    }
}
