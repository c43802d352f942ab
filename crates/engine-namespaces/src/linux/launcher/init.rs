//! The first process of a sandbox, from the moment it exists until it becomes the agent.
//!
//! Order matters: what needs rights comes before they are dropped, and the system call filter comes last. Every
//! step that fails ends the process; nothing goes on half protected.

#![expect(unsafe_code, reason = "descriptors are closed under their owners, who are never returned to")]

use std::convert::Infallible;
use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd as _, OwnedFd};
use std::path::Path;

use rustix::process::{Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid};
use sandscope_host_base::{Place, places};
use serde::{Deserialize, Serialize};

use super::mounts::Seen;
use super::{mounts, seccomp};
use crate::linux::channel;
use crate::linux::protocol::{Failure, InStep as _, MakeRequest};
use crate::linux::sys::{self, AtExec};
use sandscope_kernel_pools::Bounds;

/// What the sandbox's root may do beyond an ordinary user: enough to manage its own files, users and processes.
pub(super) const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT);
/// What the agent alone has, and no program that it starts: of two processes of one user the kernel lets the one with
/// fewer capabilities change nothing of the other's priority, processors, scheduling or I/O class. Of all this is the one
/// with the least use: only the host's own `acct` asks for it.
pub(super) const AGENTS_OWN: CapabilitySet = CapabilitySet::SYS_PACCT;
const LAST_CAPABILITY: u32 = 63;
/// No core dumps, also not into a program of the host's: see `seccomp`.
pub(super) const CORE_BYTES: u64 = 1;
const MAX_OPEN_FILES: u64 = 65_536;
/// How far into a file in memory something may lie: the further, the more the kernel keeps for the way there.
const MAX_FILE_BYTES: u64 = 1 << 40;
/// Settings of the sandbox's own network. Below these ports anybody may listen. The others bound what the kernel keeps
/// for the network and charges to nobody: options of one socket, memberships, connections that wait for their end,
/// and pieces of packets that wait for the others.
const NETWORK: [(&str, &str); 8] = [
    ("ipv4/ip_unprivileged_port_start", "0"),
    ("core/optmem_max", "20480"),
    // None: the kernel takes them back one by one through the list of all, under a lock that it has one of. Many sockets
    // with a few each kept a killed sandbox from ending for a minute, and everybody else from making networks.
    ("ipv4/igmp_max_memberships", "0"),
    ("ipv4/tcp_max_tw_buckets", "8192"),
    // The lower one first: it may not be above the higher one.
    ("ipv4/ipfrag_low_thresh", "786432"),
    ("ipv4/ipfrag_high_thresh", "1048576"),
    ("ipv6/ip6frag_low_thresh", "786432"),
    ("ipv6/ip6frag_high_thresh", "1048576"),
];

/// What the shim sends once the file systems are ready. The root comes first, then the files for `/proc`, then the
/// others in the order of `names`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Mounts {
    pub(super) names: Vec<String>,
}

/// What the process brings along from the shim it was cloned from.
pub(super) struct Inheritance<'a> {
    pub(super) request: &'a MakeRequest,
    pub(super) filters: &'a seccomp::Filters,
    pub(super) join_files: &'a [OwnedFd],
    pub(super) shim: BorrowedFd<'a>,
    pub(super) agent: BorrowedFd<'a>,
    pub(super) boot_token: BorrowedFd<'a>,
}

/// Becomes the agent. `alarm` closes by itself when that has worked; otherwise the reason is written there.
pub(super) fn become_agent(inherited: &Inheritance<'_>, mut alarm: OwnedFd) -> ! {
    // SAFETY: the process ends below, and with what the caller has.
    let Err(failure) = unsafe { try_to_become_agent(inherited, &mut alarm) };
    // Its last words; the shim reads them as the reason.
    let _shim_gone = serde_json::to_writer(File::from(alarm), &failure);
    sys::exit_now(1)
}

/// # Safety
///
/// When this returns, `alarm` may be the only descriptor that is open still: the process must use no other, and must not
/// go back to code that owns one.
unsafe fn try_to_become_agent(
    inherited: &Inheritance<'_>,
    alarm: &mut OwnedFd,
) -> Result<Infallible, Failure> {
    sys::reset_signals();
    rustix::process::setsid().step("start a session")?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).step("tie life to the shim")?;
    for file in inherited.join_files {
        rustix::io::write(file, b"0").step("join a control group")?;
    }
    let groups = seen_groups(&inherited.request.cgroup_name)?;
    sys::unshare_cgroups().step("make a control group namespace")?;
    let received = channel::receive::<Mounts>(inherited.shim).step("wait for the file systems")?;
    let Some((mounts, mut fds)) = received.filter(|(mounts, fds)| fds.len() == mounts.names.len() + 2) else {
        return Err(Failure::new("wait for the file systems", "the shim ended first"));
    };
    // Of these settings older kernels listen to the host's root alone, newer ones to the sandbox's.
    let bounds = Bounds::of(inherited.request.memory_mb);
    let are_set = bounds.set_ipc().is_ok();
    become_root()?;
    // A change of ids clears it.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).step("tie life to the shim")?;
    rustix::system::sethostname(inherited.request.hostname.as_bytes()).step("set the host name")?;
    sys::bring_loopback_up().step("bring loopback up")?;
    // Later `/proc/sys` cannot be written.
    for (name, value) in NETWORK {
        let _kernels_without = fs::write(Path::new("/proc/sys/net").join(name), value);
    }
    if !are_set {
        bounds.set_ipc().step("bound what stays in memory")?;
    }
    let others = mounts.names.into_iter().zip(fds.split_off(2)).collect::<Vec<_>>();
    let missing = || Failure::new("attach the root", "missing");
    let [root, view] = <[OwnedFd; 2]>::try_from(fds).map_err(|_| missing())?;
    mounts::enter_root(&root, &others, &view, &groups, bounds)?;
    drop((root, view, others));
    limit_resources()?;
    sys::join_new_keyring().step("leave the host's keyring")?;
    // SAFETY: as the caller promises.
    let fds = unsafe { arrange_descriptors(inherited, alarm) }?;
    drop_rights()?;
    inherited.filters.install()?;
    Err(sys::exec_fd(fds.as_fd(), c"sandscope-agent")).step("start the agent")
}

/// The control groups it is to see, by their places as the host has them, which it sees only now. With version 2 they
/// are its own or none.
fn seen_groups(name: &str) -> Result<Vec<(Place, Seen)>, Failure> {
    let own = fs::read_to_string("/proc/self/cgroup").step("look at the control groups")?;
    let seen = |place: Place| match (place.is_in(name), &place.controllers) {
        (true, _) => Some((place, Seen::Whole)),
        (false, Some(_)) => Some((place, Seen::NameOnly)),
        (false, None) => None,
    };
    Ok(places(&own).into_iter().filter_map(seen).collect())
}

fn become_root() -> Result<(), Failure> {
    let (uid, gid) = (rustix::process::Uid::ROOT, Gid::ROOT);
    rustix::thread::set_thread_groups(&[]).step("leave groups")?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).step("become the sandbox's root")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).step("become the sandbox's root")
}

fn limit_resources() -> Result<(), Failure> {
    let set = |resource, limit: u64| {
        // Lowering is always allowed; the host's own hard limit may be lower than ours.
        let hard = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX).min(limit);
        rustix::process::setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })
            .step("limit resources")
    };
    set(Resource::Core, CORE_BYTES)?;
    set(Resource::Nofile, MAX_OPEN_FILES)?;
    set(Resource::Fsize, MAX_FILE_BYTES)?;
    set(Resource::Memlock, 64 * 1024)?;
    set(Resource::Rtprio, 0)?;
    set(Resource::Msgqueue, 819_200)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    Ok(())
}

/// Leaves exactly these open: 0-2 on `/dev/null`, 3 with the boot token, and the agent and the alarm until it starts.
///
/// # Safety
///
/// The process must use no other descriptor from then on, also where this fails, and not go back to code that owns one.
unsafe fn arrange_descriptors(inherited: &Inheritance<'_>, alarm: &mut OwnedFd) -> Result<OwnedFd, Failure> {
    let step = "arrange descriptors";
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").step(step)?;
    rustix::stdio::dup2_stdin(&null).step(step)?;
    rustix::stdio::dup2_stdout(&null).step(step)?;
    rustix::stdio::dup2_stderr(&null).step(step)?;
    drop(null);
    // Where it can say what failed, whatever fails below.
    *alarm = rustix::io::fcntl_dupfd_cloexec(&*alarm, sys::OUT_OF_THE_WAY).step(step)?;
    let kept = [
        (inherited.boot_token, AtExec::Stays),
        (alarm.as_fd(), AtExec::Closes),
        (inherited.agent, AtExec::Closes),
    ];
    // SAFETY: the alarm gets a new owner below; all other owners are of no use any more, as the caller promises.
    let [token, late, agent] = unsafe { sys::keep_only(kept) }.step(step)?;
    std::mem::forget(std::mem::replace(alarm, late));
    // The agent takes it over.
    let _number = token.into_raw_fd();
    Ok(agent)
}

fn drop_rights() -> Result<(), Failure> {
    let step = "drop capabilities";
    let kept = CAPABILITIES.union(AGENTS_OWN);
    let now = rustix::thread::capabilities(None).step(step)?;
    // Inherited once, by the agent, which lets go of it first thing: what a program may have at most is `CAPABILITIES`.
    // While it may: what is to be inherited must be in the bounding set.
    rustix::thread::set_capabilities(None, CapabilitySets { inheritable: AGENTS_OWN, ..now }).step(step)?;
    for number in 0..=LAST_CAPABILITY {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if CAPABILITIES.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // Numbers above the last one the kernel knows.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error).step(step),
        }
    }
    rustix::thread::clear_ambient_capability_set().step(step)?;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: AGENTS_OWN },
    )
    .step(step)?;
    rustix::thread::set_no_new_privs(true).step("refuse new privileges")
}
