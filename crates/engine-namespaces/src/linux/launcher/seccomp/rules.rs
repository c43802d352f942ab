//! Calls allowed with some arguments only.

use seccompiler::{BackendError, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

/// New namespaces, of any kind.
const NAMESPACE_FLAGS: u64 = 0x7E02_0080;
/// The protocols of IPv4 and IPv6: any, ICMP, TCP, UDP, ICMPv6, multipath TCP. Others would load a module.
const PROTOCOLS: [u64; 6] = [0, 1, 6, 17, 58, 262];
/// The only netlink protocol: routes and addresses (`getaddrinfo`, `ip addr`).
const NETLINK_ROUTE: u64 = 0;
/// Execution domains: Linux, the same with 32-bit `uname`, and asking for the current one.
const PERSONALITIES: [u64; 4] = [0x0, 0x8, 0x2_0000, 0xFFFF_FFFF];
/// Terminal requests that put words into another's mouth.
const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541C;
/// The terminal request that gives it a line discipline, which may be a module of its own with memory of its own.
const TIOCSETD: u64 = 0x5423;
/// A listener keeps its filter when the process that installed it has ended: filters without processes, without number.
const NEW_LISTENER: u64 = 1 << 3;
/// Names of memory areas: the kernel charges them to nobody.
const PR_SET_VMA: u64 = 0x5356_4D41;
/// The netlink protocol of the kernel's audit.
const NETLINK_AUDIT: u64 = 9;

/// Levels of socket options, and which of their options a sandbox cannot set: what the kernel keeps for these is
/// charged to nobody, and each socket may have much of it.
const SOCKET_OPTIONS: [(i32, &[u64]); 6] = [
    // SO_ATTACH_FILTER, SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_CBPF, SO_ATTACH_REUSEPORT_EBPF: programs, compiled in a pool
    // of the whole host.
    (libc::SOL_SOCKET, &[26, 50, 51, 52]),
    // MCAST_JOIN_GROUP and its kin are counted by `igmp_max_memberships`, which is zero in a sandbox.
    (libc::IPPROTO_IP, &[]),
    // TCP_MD5SIG, TCP_MD5SIG_EXT, TCP_AO_ADD_KEY: keys.
    (libc::IPPROTO_TCP, &[14, 32, 38]),
    (libc::IPPROTO_UDP, &[]),
    // IPV6_JOIN_GROUP, IPV6_JOIN_ANYCAST, IPV6_FLOWLABEL_MGR, MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP, MCAST_MSFILTER:
    // memberships, and labels of which the whole host has 4,096.
    (libc::IPPROTO_IPV6, &[20, 27, 32, 42, 46, 48]),
    (libc::SOL_NETLINK, &[]),
];

/// A call's name, its number, and with which arguments something holds for it: any of the rules.
pub(super) type Ruled = (&'static str, i64, Vec<SeccompRule>);

pub(super) fn rules() -> Result<Vec<Ruled>, BackendError> {
    let personalities = PERSONALITIES.into_iter().map(|value| rule([equals(0, value)?]));
    let options = SOCKET_OPTIONS.into_iter().map(|(level, refused)| {
        let mut conditions = vec![equals(1, number(level))?];
        for option in refused {
            conditions.push(differs(2, *option)?);
        }
        SeccompRule::new(conditions)
    });
    Ok(vec![
        ("SYS_clone", libc::SYS_clone, vec![rule([masked(0, NAMESPACE_FLAGS, 0)?])?]),
        ("SYS_socket", libc::SYS_socket, sockets()?),
        ("SYS_setsockopt", libc::SYS_setsockopt, options.collect::<Result<_, _>>()?),
        ("SYS_personality", libc::SYS_personality, personalities.collect::<Result<_, _>>()?),
        (
            "SYS_ioctl",
            libc::SYS_ioctl,
            vec![rule([differs(1, TIOCSTI)?, differs(1, TIOCLINUX)?, differs(1, TIOCSETD)?])?],
        ),
        ("SYS_prctl", libc::SYS_prctl, vec![rule([differs(0, PR_SET_VMA)?])?]),
        ("SYS_seccomp", libc::SYS_seccomp, vec![rule([masked(1, NEW_LISTENER, 0)?])?]),
    ])
}

/// Those that succeed and do nothing with some arguments: setting the limit of core dumps.
pub(super) fn idle() -> Result<Vec<Ruled>, BackendError> {
    const CORE: u64 = libc::RLIMIT_CORE as u64;
    let sets = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0)?;
    Ok(vec![
        ("SYS_setrlimit", libc::SYS_setrlimit, vec![rule([equals(0, CORE)?])?]),
        ("SYS_prlimit64", libc::SYS_prlimit64, vec![rule([equals(1, CORE)?, sets])?]),
    ])
}

/// Those that answer as a kernel that was built without: programs that manage users tell the audit what they do, go on
/// where there is none, and end where they may not.
pub(super) fn unsupported() -> Result<Vec<Ruled>, BackendError> {
    let audit = rule([equals(0, number(libc::AF_NETLINK))?, equals(2, NETLINK_AUDIT)?])?;
    Ok(vec![("SYS_socket", libc::SYS_socket, vec![audit])])
}

/// Local, IPv4 and IPv6, and read-only questions to the kernel's network.
fn sockets() -> Result<Vec<SeccompRule>, BackendError> {
    let mut rules = vec![rule([equals(0, number(libc::AF_UNIX))?])?];
    for family in [libc::AF_INET, libc::AF_INET6] {
        for protocol in PROTOCOLS {
            rules.push(rule([equals(0, number(family))?, equals(2, protocol)?])?);
        }
    }
    rules.push(rule([equals(0, number(libc::AF_NETLINK))?, equals(2, NETLINK_ROUTE)?])?);
    Ok(rules)
}

const fn number(constant: i32) -> u64 {
    constant.unsigned_abs() as u64
}

fn rule<const N: usize>(conditions: [SeccompCondition; N]) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.into())
}

fn equals(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn differs(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value)
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(mask), value)
}
