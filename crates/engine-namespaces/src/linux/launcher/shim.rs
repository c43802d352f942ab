//! The parent of one sandbox: makes it, reports to the server, waits for its end and records how it came.

#![expect(unsafe_code, reason = "descriptors are closed under their owners, who are never returned to")]

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use sandscope_proc_view::VIEW_DESCRIPTOR;

use super::identity::IdRange;
use super::init::{self, Inheritance, Mounts};
use super::reply::reply;
use super::seccomp::Filters;
use super::{devices, rootfs, verify};
use crate::linux::channel;
use crate::linux::disk;
use crate::linux::protocol::{COPY_DISK, Done, Failure, InStep as _, Made, MakeRequest};
use crate::linux::record::{self, EXIT_FILE, ExitRecord};
use crate::linux::sys::{self, AtExec, Cloned};

/// How long PID 1 may take to become the agent.
const START_LIMIT_S: i64 = 10;

/// What a shim has from its launcher.
#[derive(Clone, Copy)]
pub(super) struct Heritage<'a> {
    /// Where the server reads answers.
    pub(super) socket: BorrowedFd<'a>,
    /// The agent's executable.
    pub(super) agent: BorrowedFd<'a>,
    pub(super) filters: &'a Filters,
}

/// A sandbox that has been made.
struct Sandbox {
    made: Made,
    pid: Pid,
    pidfd: OwnedFd,
    network: OwnedFd,
    disk: OwnedFd,
    view: OwnedFd,
    ids: IdRange,
}

/// Serves one request in a process of its own and never returns.
pub(super) fn run(heritage: Heritage<'_>, number: u64, request: &MakeRequest, fds: Vec<OwnedFd>) -> ! {
    match make(heritage, request, fds) {
        Ok(sandbox) => watch(heritage, number, request, sandbox),
        Err(failure) => {
            let _server_gone = reply(heritage.socket, number, Err(failure), &[]);
            sys::exit_now(1)
        }
    }
}

fn make(heritage: Heritage<'_>, request: &MakeRequest, fds: Vec<OwnedFd>) -> Result<Sandbox, Failure> {
    rustix::process::setsid().step("start a session")?;
    // Whoever reads the server's output must not wait for the sandbox's end.
    rustix::stdio::dup2_stdout(io::stdin()).step("close standard output")?;
    rustix::stdio::dup2_stderr(io::stdin()).step("close standard error")?;
    let mut groups = fds;
    let rest = groups.split_off(usize::from(request.has_unified_cgroup).min(groups.len()));
    let (unified, join_files) = (groups.pop(), rest);

    let ids = IdRange::claim(&request.id)?;
    let image = disk::copy_image(&request.image, &request.dir.join(disk::IMAGE_FILE)).step(COPY_DISK)?;
    let (loop_device, device) =
        disk::attach(&request.dir.join(disk::IMAGE_FILE), &request.disks_dir).step("attach the disk")?;
    let disk = disk::mount(loop_device).step("mount the disk")?;
    drop((device, image));

    let (ours, theirs) = channel::pair().step("make a channel")?;
    let (alarm, alarm_end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).step("make a pipe")?;
    let boot_token = boot_token_pipe(request)?;
    sys::start_clocks_anew();
    let owner = Owner::become_of(ids.base)?;
    let cloned = sys::clone_into_namespaces(unified.as_ref().map(AsFd::as_fd)).step("make namespaces")?;
    let (pid, pidfd) = match cloned {
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
        Cloned::Child => {
            // It becomes its own root as soon as that is mapped.
            std::mem::forget(owner);
            drop(ours);
            let inherited = Inheritance {
                request,
                filters: heritage.filters,
                join_files: &join_files,
                shim: theirs.as_fd(),
                agent: heritage.agent,
                boot_token: boot_token.as_fd(),
            };
            init::become_agent(&inherited, alarm_end)
        }
    };
    let guard = KillOnDrop(Some(pidfd));
    drop(owner);
    drop((theirs, alarm_end, boot_token, join_files, unified));

    let proc_dir = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    rootfs::map_ids(&proc_dir, ids.base)?;
    let userns = rootfs::open_namespace(&proc_dir, "user")?;
    let network = rootfs::open_namespace(&proc_dir, "net")?;
    let mut tree = rootfs::assemble(disk, &request.base, userns.as_fd(), ids.base)?;
    tree.others.push(("dev".to_owned(), devices::make(ids.base)?));
    let view = sandscope_proc_view::make(ids.base).step("make files for /proc")?;
    let (names, mounts): (Vec<_>, Vec<_>) = tree.others.into_iter().unzip();
    let fds: Vec<_> = [&tree.root, &view].into_iter().chain(&mounts).map(AsFd::as_fd).collect();
    channel::send(&ours, &Mounts { names }, &fds).step("hand over the file systems")?;
    drop((mounts, tree.root, userns));

    wait_for_agent(alarm)?;
    verify::verify(&proc_dir, ids.base, &request.cgroup_name, heritage.filters.len())?;
    let made = Made {
        init: record::name_process(pid.as_raw_nonzero().get()).step("look at the sandbox")?,
        shim: record::name_process(rustix::process::getpid().as_raw_nonzero().get())
            .step("look at the shim")?,
        uid_base: ids.base,
        loop_device,
    };
    Ok(Sandbox { made, pid, pidfd: guard.disarm()?, network, disk: tree.disk, view, ids })
}

/// The user who makes a sandbox's namespaces, and owns them: its own root, seen from outside. What the kernel counts
/// for each user, as inotify instances and watches, is then counted for each sandbox, and none can use up the host's.
struct Owner;

impl Owner {
    /// Capabilities are kept over the change.
    fn become_of(base: u32) -> Result<Self, Failure> {
        let step = "become the owner of the namespaces";
        rustix::thread::set_capabilities_secure_bits(rustix::thread::CapabilitiesSecureBits::NO_SETUID_FIXUP)
            .step(step)?;
        let (root, owner) = (rustix::process::Uid::ROOT, rustix::process::Uid::from_raw(base));
        rustix::thread::set_thread_res_uid(root, owner, root).step(step)?;
        Ok(Self)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let root = rustix::process::Uid::ROOT;
        if rustix::thread::set_thread_res_uid(root, root, root).is_err() {
            std::process::abort();
        }
    }
}

/// A pipe with the token in it, whose writing end is closed.
fn boot_token_pipe(request: &MakeRequest) -> Result<OwnedFd, Failure> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).step("make a pipe")?;
    // Far below what a pipe holds: this never waits.
    File::from(writer).write_all(request.boot_token.expose().as_bytes()).step("fill the pipe")?;
    Ok(reader)
}

/// Reads until the alarm is closed by the successful `exec`; anything read is a failure.
fn wait_for_agent(alarm: OwnedFd) -> Result<(), Failure> {
    let step = "start the agent";
    let limit = rustix::event::Timespec { tv_sec: START_LIMIT_S, tv_nsec: 0 };
    let ready = rustix::io::retry_on_intr(|| {
        rustix::event::poll(&mut [PollFd::new(&alarm, PollFlags::IN)], Some(&limit))
    });
    if ready.step(step)? == 0 {
        return Err(Failure::new(step, "not in time"));
    }
    let mut words = Vec::new();
    File::from(alarm).take(4096).read_to_end(&mut words).step(step)?;
    if words.is_empty() {
        return Ok(());
    }
    Err(serde_json::from_slice(&words).unwrap_or_else(|error| Failure::new(step, error)))
}

/// Reports to the server, lets go of everything not needed, and waits for the end.
fn watch(heritage: Heritage<'_>, number: u64, request: &MakeRequest, sandbox: Sandbox) -> ! {
    let Sandbox { made, pid, pidfd, network, disk, view, ids } = sandbox;
    let answer = || -> Result<(), Failure> {
        let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())
            .step("name the shim")?;
        let fds = [pidfd.as_fd(), own.as_fd(), network.as_fd(), disk.as_fd(), view.as_fd()];
        reply(heritage.socket, number, Ok(Done::Made(made)), &fds)
    };
    // Before the answer: its receiver may give the directory another name.
    let dir = File::open(&request.dir);
    if answer().is_err() {
        let _already_dead = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
    }
    drop((pidfd, network, disk));
    let Ok(opened) = dir else { sys::exit_now(1) };
    // SAFETY: this function never returns to an owner of another descriptor, and uses none itself.
    let kept = unsafe { keep_only(opened, view, ids) };
    let Ok((dir, _view, _claim)) = kept else { sys::exit_now(1) };
    let status = loop {
        match rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED) {
            Ok(status) => break status,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => sys::exit_now(1),
        }
    };
    let exit = ExitRecord {
        code: status.as_ref().and_then(|status| status.exit_status()),
        signal: status.as_ref().and_then(|status| status.terminating_signal()),
        at_unix_ms: record::unix_ms(),
    };
    sys::exit_now(i32::from(record::write_in(&dir, EXIT_FILE, &exit, is_durable(&dir)).is_err()))
}

/// Closes everything but the sandbox's directory, the claim on its ids, which lasts as long as its descriptor, and the
/// files for its `/proc`, which later servers reach through this process, as [`VIEW_DESCRIPTOR`].
///
/// # Safety
///
/// The process must use no other descriptor from then on, also where this fails, and not go back to code that owns one.
unsafe fn keep_only(dir: File, view: OwnedFd, ids: IdRange) -> io::Result<(File, OwnedFd, OwnedFd)> {
    let kept = [dir.as_fd(), ids.lock().as_fd(), view.as_fd()].map(|fd| (fd, AtExec::Closes));
    // SAFETY: the owners of these are forgotten below; those of all others are of no use any more, as the caller promises.
    let kept = unsafe { sys::keep_only(kept) };
    std::mem::forget((dir, view, ids));
    let [dir, claim, view] = kept?;
    debug_assert_eq!(std::os::fd::AsRawFd::as_raw_fd(&view), VIEW_DESCRIPTOR);
    Ok((dir.into(), view, claim))
}

/// Ends a half-made sandbox.
struct KillOnDrop(Option<OwnedFd>);

impl KillOnDrop {
    fn disarm(mut self) -> Result<OwnedFd, Failure> {
        self.0.take().ok_or_else(|| Failure::new("keep the sandbox", "already handed over"))
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(pidfd) = &self.0 {
            let _already_dead = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
            let _already_collected =
                rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
        }
    }
}

/// An exit that the server itself is bringing about need not outlive a power cut.
fn is_durable(dir: &File) -> bool {
    rustix::fs::accessat(dir, record::KILL_FILE, rustix::fs::Access::EXISTS, rustix::fs::AtFlags::empty())
        .is_err()
}
