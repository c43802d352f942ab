//! The system calls no safe crate wraps, each behind a function that cannot be misused from safe code, but for
//! [`keep_only`]: what it closes may be owned by others, and only its callers know that they are gone.
#![expect(unsafe_code, reason = "raw system calls")]

mod descriptors;
mod loop_device;
mod process;
mod space;

pub(crate) use descriptors::{AtExec, OUT_OF_THE_WAY, exec_fd, keep_only};
pub(crate) use loop_device::{
    attach_loop, backing_file, backing_inode, detach_loop, freeze_filesystem, thaw_filesystem,
};
pub(crate) use process::{
    Cloned, Forked, clone_into_namespaces, exit_now, fork, join_new_keyring, reset_signals,
    set_filesystem_ids, start_clocks_anew, unshare_cgroups,
};
pub(crate) use space::{backed_ranges, free_ranges, sync_filesystem, trim_filesystem};

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use sandscope_cgroup::OomWatch;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Flags to add to a mount, and the user namespace whose mapping it takes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MountAttributes<'fd> {
    pub(crate) set: u64,
    pub(crate) idmap: Option<BorrowedFd<'fd>>,
    pub(crate) recursive: bool,
}

pub(crate) use libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};

/// `mount_setattr(2)` on the mount at `path` seen from `dir`; an empty path means `dir` itself.
pub(crate) fn set_mount_attributes(
    dir: BorrowedFd<'_>,
    path: &CStr,
    attributes: MountAttributes<'_>,
) -> io::Result<()> {
    let mut attr = libc::mount_attr { attr_set: attributes.set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    if let Some(userns) = attributes.idmap {
        attr.attr_set |= libc::MOUNT_ATTR_IDMAP;
        attr.userns_fd = u64::try_from(userns.as_raw_fd()).map_err(io::Error::other)?;
    }
    let mut flags = libc::AT_EMPTY_PATH;
    if attributes.recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: every pointer is valid for the duration of the call and the size matches the structure.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_raw_fd(),
            path.as_ptr(),
            flags,
            std::ptr::from_ref(&attr),
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Brings the loopback interface of the calling process's network namespace up.
pub(crate) fn bring_loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: an all-zero ifreq is a valid value of this plain structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(i16::MAX);
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives until the call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets tasks wait until a descriptor is ready.
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` answers with the same open descriptor for as long as it lives.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}

/// Lets a task wait until memory runs out.
pub(crate) fn watch_oom(watch: OomWatch) -> io::Result<AsyncFd<OomWatch>> {
    let interest = if watch.is_urgent() { Interest::PRIORITY } else { Interest::READABLE };
    // SAFETY: an `OomWatch` owns its descriptor and answers with the same one for as long as it lives.
    unsafe { AsyncFd::register_with_interest(watch, interest) }.map_err(io::Error::from)
}

/// Completes when memory runs out the next time.
pub(crate) async fn next_oom(watch: &AsyncFd<OomWatch>) {
    let interest = if watch.get_ref().is_urgent() { Interest::PRIORITY } else { Interest::READABLE };
    match watch.ready(interest).await {
        Ok(mut ready) => {
            // In this order: word that comes in between makes it ready again.
            watch.get_ref().clear();
            ready.clear_ready();
        }
        // Only while the server's runtime is shutting down.
        Err(_) => std::future::pending().await,
    }
}
