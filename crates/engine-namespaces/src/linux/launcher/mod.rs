//! The process that makes sandboxes on the server's behalf.
//!
//! A server with many threads must neither fork nor change namespaces. It starts its own executable again, small and
//! early, and this single-threaded process does both for it:
//!
//! ```text
//!  server ══ message socket ══ launcher ──fork──► shim, one per sandbox ──clone3──► PID 1 of the sandbox
//!              (fd 0)             │                 makes disk and mounts,             joins control groups,
//!                                 │                 verifies, answers the server,      pivots, drops rights,
//!                                 │                 waits, records the exit            becomes the agent
//!                                 └── sockets inside sandboxes' network namespaces
//! ```
//!
//! Ownership: a shim answers its request itself, so that many are under way at once while the launcher goes on. It
//! holds the sandbox's range of user ids (a file lock) and lives, in a session of its own, exactly as long as the
//! sandbox: servers and launchers may come and go. If a shim dies, the kernel ends its sandbox.
//!
//! Failure: a shim that dies before it answered is answered for by the launcher. A launcher that dies is replaced by
//! the server. A launcher whose server is gone reads end-of-file and leaves.

mod devices;
mod identity;
mod init;
mod mounts;
mod reply;
mod rootfs;
mod seccomp;
mod shim;
mod verify;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, Resource, Rlimit, WaitOptions};
use rustix::thread::LinkNameSpaceType;

use self::reply::reply;
use self::shim::Heritage;
use super::channel;
use super::protocol::{Done, Failure, InStep as _, LAUNCHER_ARGUMENT, Loopback, Operation, Request};
use super::sys::{self, Forked};

/// How long a dead shim may go unnoticed.
const REAP_INTERVAL: Duration = Duration::from_millis(200);

static AGENT: &[u8] = include_bytes!(env!("SANDSCOPE_AGENT"));

/// Acts as the launcher if the executable was started as one, and then never returns. Call it first thing in `main`,
/// before any thread exists: `launcher_main(std::env::args_os().nth(1).as_deref())`.
pub fn launcher_main(first_argument: Option<&OsStr>) {
    if first_argument == Some(OsStr::new(LAUNCHER_ARGUMENT)) {
        let code = match run() {
            Ok(()) => 0,
            Err(failure) => {
                // Nobody else can say it: the socket may be what failed.
                let _unwritable = writeln!(io::stderr(), "sandscope launcher: {failure}");
                1
            }
        };
        std::process::exit(code);
    }
}

struct Launcher {
    socket: OwnedFd,
    /// The agent's executable: an anonymous file nobody can change, shared by all sandboxes, see [`agent_file`].
    agent: OwnedFd,
    filters: seccomp::Filters,
    own_network: OwnedFd,
    /// Requests in shims' hands.
    shims: HashMap<Pid, u64>,
}

fn run() -> Result<(), Failure> {
    // Out of the terminal's foreground group: an interrupt is the server's to handle.
    rustix::process::setsid().step("start a session")?;
    std::env::set_current_dir("/").step("leave the server's directory")?;
    // Where the server has a limit of zero, nobody inside could raise it again.
    let core = Some(init::CORE_BYTES);
    rustix::process::setrlimit(Resource::Core, Rlimit { current: core, maximum: core })
        .step("limit core dumps")?;
    let stdin = io::stdin();
    let socket = rustix::io::fcntl_dupfd_cloexec(stdin.as_fd(), 3).step("take the server's socket")?;
    let null = std::fs::File::open("/dev/null").step("open /dev/null")?;
    rustix::stdio::dup2_stdin(&null).step("close standard input")?;
    let mut launcher = Launcher {
        socket,
        agent: agent_file()?,
        filters: seccomp::Filters::compile()?,
        own_network: open_own_network()?,
        shims: HashMap::new(),
    };
    launcher.filters.install_ballast()?;
    loop {
        launcher.reap()?;
        let mut waits = [PollFd::new(&launcher.socket, PollFlags::IN)];
        let pause = rustix::event::Timespec::try_from(REAP_INTERVAL).map_err(|e| Failure::new("wait", e))?;
        let pause = (!launcher.shims.is_empty()).then_some(&pause);
        match rustix::event::poll(&mut waits, pause) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error).step("wait for a request"),
        }
        match channel::receive::<Request>(&launcher.socket) {
            Ok(Some((request, fds))) => launcher.handle(request, fds)?,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error).step("receive a request"),
        }
    }
}

impl Launcher {
    fn handle(&mut self, request: Request, fds: Vec<OwnedFd>) -> Result<(), Failure> {
        let number = request.number;
        match request.operation {
            Operation::Socket(loopback) => match self.socket_inside(loopback, &fds) {
                Ok(socket) => reply(&self.socket, number, Ok(Done::Socket), &[socket.as_fd()]),
                Err(failure) => reply(&self.socket, number, Err(failure), &[]),
            },
            Operation::Make(make) => match sys::fork() {
                Ok(Forked::Parent(pid)) => {
                    self.shims.insert(pid, number);
                    Ok(())
                }
                Ok(Forked::Child) => {
                    let (socket, agent) = (self.socket.as_fd(), self.agent.as_fd());
                    shim::run(Heritage { socket, agent, filters: &self.filters }, number, &make, fds)
                }
                Err(error) => reply(&self.socket, number, Err(error).step("start a shim"), &[]),
            },
        }
    }

    /// Makes a socket where only it can be made; its receiver connects it.
    fn socket_inside(&self, loopback: Loopback, fds: &[OwnedFd]) -> Result<OwnedFd, Failure> {
        let network = fds.first().ok_or_else(|| Failure::new("make a socket", "no namespace given"))?;
        enter_network(network.as_fd()).step("enter the sandbox's network")?;
        let family = match loopback {
            Loopback::V4 => AddressFamily::INET,
            Loopback::V6 => AddressFamily::INET6,
        };
        let socket = rustix::net::socket_with(
            family,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        );
        // Staying behind would put every later socket into the wrong sandbox.
        if enter_network(self.own_network.as_fd()).is_err() {
            std::process::abort();
        }
        socket.step("make a socket")
    }

    /// Collects shims that ended, and answers for those that may not have been able to. A second answer to the same
    /// request is ignored by the server.
    fn reap(&mut self) -> Result<(), Failure> {
        while !self.shims.is_empty() {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, _status))) => {
                    if let Some(number) = self.shims.remove(&pid) {
                        reply(
                            &self.socket,
                            number,
                            Err(Failure::new("make the sandbox", "its shim ended")),
                            &[],
                        )?;
                    }
                }
                Ok(None) => return Ok(()),
                Err(rustix::io::Errno::CHILD) => self.shims.clear(),
                Err(error) => return Err(error).step("collect shims"),
            }
        }
        Ok(())
    }
}

fn enter_network(network: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::thread::move_into_link_name_space(network, Some(LinkNameSpaceType::Network))
}

fn open_own_network() -> Result<OwnedFd, Failure> {
    std::fs::File::open("/proc/self/ns/net").map(OwnedFd::from).step("open the own network namespace")
}

/// Everybody may execute it and nobody read it, which inside makes the kernel count the process among the host's: whoever
/// would trace it, read its memory or write its files in `/proc` needs rights over the host, sandboxes' roots too.
fn agent_file() -> Result<OwnedFd, Failure> {
    use rustix::fs::{MemfdFlags, SealFlags};
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create("sandscope-agent", flags | MemfdFlags::EXEC)
        // Kernels before 6.3 know no such flag and need none.
        .or_else(|_| rustix::fs::memfd_create("sandscope-agent", flags))
        .step("make a file for the agent")?;
    let mut file = std::fs::File::from(file);
    file.write_all(AGENT).step("write the agent")?;
    rustix::fs::fcntl_add_seals(
        &file,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )
    .step("seal the agent")?;
    rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o111)).step("hide the agent")?;
    Ok(file.into())
}
