//! What runs inside a sandbox as its first process.
//!
//! It answers the envd protocol on one loopback port: commands, terminals, files. It trusts nobody: everything
//! it reads, from the network or from the sandbox's own file system, may be hostile.
//!
//! ```text
//!            accept (bounded)            one task each
//!  127.0.0.1:49983 ──► connection ──► route ──► auth ──┬─► process table ──► driver task ──► pipes / terminal
//!                                                      ├─► files, filesystem ──► pool (threads that may block)
//!                                                      ├─► watches ◄── inotify
//!                                                      └─► init, envs, metrics, logs
//!  SIGCHLD ──► reaper: the only one who waits; hands exit statuses to the drivers, discards orphans
//! ```
//!
//! The modules are a tree: `framing`, `connect`, `settings`, `entry`, `metadata`, `place`, `regular_file` and `removable` know nobody above them; `files`,
//! `filesystem`, `process` and `watch` use those; `state` owns what lives as long as the agent, and only `init`, `route`
//! and `server`, above it, see it whole.
//!
//! One thread runs everything but file system work, so state needs no locks and memory stays small.
//! Configuration comes by `POST /init`, guarded by a one-time secret read from a file descriptor at start;
//! without that secret the agent refuses to run, since anyone in the sandbox could otherwise initialise it.

mod apart;
mod auth;
mod body;
mod connect;
mod entry;
mod file_systems;
mod files;
mod filesystem;
mod framing;
mod init;
mod logs;
mod metadata;
mod metrics;
mod now;
mod options;
mod paths;
mod permits;
mod place;
mod pool;
mod process;
mod random;
mod reaper;
mod regular_file;
mod removable;
mod request_body;
mod rights;
mod route;
mod server;
mod settings;
mod small_file;
mod state;
mod time_text;
mod user;
mod watch;

use std::io::Write as _;
use std::process::ExitCode;

use rustix::process::set_child_subreaper;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be listening; there is nothing else to be done with it.
            let _ = std::io::stderr().write_all(format!("sandscope-agent: {error}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Fatal {
    #[error(transparent)]
    Options(#[from] options::OptionsError),
    #[error("cannot set the agent apart from programs: {0}")]
    Apart(rustix::io::Errno),
    #[error("cannot become the parent of orphans: {0}")]
    Subreaper(rustix::io::Errno),
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
    #[error("cannot start a thread: {0}")]
    Pool(std::io::Error),
    #[error("cannot listen: {0}")]
    Listen(std::io::Error),
    #[error("cannot watch for ended processes: {0}")]
    Reaper(std::io::Error),
}

#[expect(unsafe_code, reason = "what comes first relies on being first")]
fn run() -> Result<(), Fatal> {
    // SAFETY: there is no second thread yet.
    unsafe { tune_memory() };
    let_faults_be();
    apart::stand_apart().map_err(Fatal::Apart)?;
    // SAFETY: called once, and nothing has been opened yet.
    let options = unsafe { options::read(std::env::args().skip(1)) }?;
    if rustix::process::getpid() != rustix::process::Pid::INIT {
        // As the first process we are that by nature.
        set_child_subreaper(Some(rustix::process::getpid())).map_err(Fatal::Subreaper)?;
    }
    pool::start().map_err(Fatal::Pool)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(Fatal::Runtime)?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let agent = state::Agent::new(options.boot_token);
        let reaper = reaper::start(&agent.exits).map_err(Fatal::Reaper)?;
        tokio::task::spawn_local(reaper);
        let listener = tokio::net::TcpListener::bind(options.listen).await.map_err(Fatal::Listen)?;
        if options.announce {
            let address = listener.local_addr().map_err(Fatal::Listen)?;
            let _ = writeln!(std::io::stdout(), "{address}");
        }
        server::serve(listener, agent).await;
        Ok(())
    })
}

/// Takes back the handlers that the standard library has for faults, which only add words to a fatal one. Both
/// signals sent at once put two of their frames on the little stack that they share, which on machines with
/// large registers has room for one: the kernel then ends the process, the first of its namespace as it may be. Without
/// handlers it throws such signals away, and a fault of our own is as fatal as before.
#[expect(unsafe_code, reason = "there is no safe way to say it")]
fn let_faults_be() {
    for signal in [libc::SIGBUS, libc::SIGSEGV] {
        // SAFETY: installs no handler; the default action is no code of ours.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Makes the C library thrifty: one heap for all threads instead of one for each, and large buffers given back at once.
/// The agent's memory is paid once per sandbox.
///
/// # Safety
///
/// The process must have one thread: the allocator's settings have no lock.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the C library has no safe way to say it")]
unsafe fn tune_memory() {
    for (option, value) in
        [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, 256 * 1024), (libc::M_TRIM_THRESHOLD, 256 * 1024)]
    {
        // SAFETY: sets a number inside the allocator, which no other thread uses, as the caller promises. Refused,
        // nothing changes.
        let _ = unsafe { libc::mallopt(option, value) };
    }
}

/// # Safety
///
/// None is needed: other C libraries have nothing to tune.
#[cfg(not(target_env = "gnu"))]
#[expect(unsafe_code, reason = "the signature of its twin")]
unsafe fn tune_memory() {}
