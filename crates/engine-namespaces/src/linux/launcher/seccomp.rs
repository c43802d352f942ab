//! The system calls a sandbox may make. Compiled once, installed in every sandbox.
//!
//! An allow-list: what is not named fails with `EPERM`, so that a call a future kernel invents is refused until
//! somebody has thought about it. `clone3` fails with `ENOSYS`, because its arguments lie in memory where a
//! filter cannot look, and the C library then falls back to `clone`, whose flags it can; and so does `io_setup`,
//! because the kernel has one pool of asynchronous requests for the whole host, which one sandbox could empty, and
//! programs do without where a kernel has none.

mod allowed;

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

use crate::linux::protocol::{Failure, InStep as _};

/// New namespaces, of any kind.
const NAMESPACE_FLAGS: u64 = 0x7E02_0080;
/// Address families: local, IPv4, IPv6, and read-only questions to the kernel's network.
const SOCKET_FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
/// The only netlink protocol: routes and addresses (`getaddrinfo`, `ip addr`).
const NETLINK_ROUTE: u64 = 0;
/// Execution domains: Linux, the same with 32-bit `uname`, and asking for the current one.
const PERSONALITIES: [u64; 4] = [0x0, 0x8, 0x2_0000, 0xFFFF_FFFF];
/// Terminal requests that put words into another's mouth.
const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541C;

/// The agent, as seen from inside: signals do not reach it, and limits on its time or memory must not either.
const FIRST_PROCESS: u64 = 1;

/// The programs to install, in this order.
pub(super) struct Filters {
    absent: BpfProgram,
    allow_list: BpfProgram,
}

impl Filters {
    pub(super) fn compile() -> Result<Self, Failure> {
        compile().map_err(|error| Failure::new("compile the system call filter", error))
    }

    /// Installs both. The allow-list lets the second installation through only because it goes last.
    pub(super) fn install(&self) -> Result<(), Failure> {
        for program in [&self.absent, &self.allow_list] {
            seccompiler::apply_filter(program)
                .map_err(|error| Failure::new("install the system call filter", error))?;
        }
        Ok::<_, std::io::Error>(()).step("install the system call filter")
    }
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn compile() -> Result<Filters, seccompiler::BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let errno = |number: i32| SeccompAction::Errno(number.unsigned_abs());
    let absent = Rules::from([(libc::SYS_clone3, vec![]), (libc::SYS_io_setup, vec![])]);
    let absent = SeccompFilter::new(absent, SeccompAction::Allow, errno(libc::ENOSYS), arch)?;
    let allow_list = SeccompFilter::new(allow_list()?, errno(libc::EPERM), SeccompAction::Allow, arch)?;
    Ok(Filters { absent: absent.try_into()?, allow_list: allow_list.try_into()? })
}

fn allow_list() -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = allowed::UNCONDITIONALLY.iter().map(|call| (*call, vec![])).collect();
    rules.insert(libc::SYS_clone, vec![rule([masked(0, NAMESPACE_FLAGS, 0)?])?]);
    let mut sockets = Vec::new();
    for family in SOCKET_FAMILIES {
        let mut conditions = vec![equals(0, u64::from(family.unsigned_abs()))?];
        if family == libc::AF_NETLINK {
            conditions.push(equals(2, NETLINK_ROUTE)?);
        }
        sockets.push(SeccompRule::new(conditions)?);
    }
    rules.insert(libc::SYS_socket, sockets);
    let personalities = PERSONALITIES.into_iter().map(|value| rule([equals(0, value)?]));
    rules.insert(libc::SYS_personality, personalities.collect::<Result<_, _>>()?);
    let differs =
        |argument, value| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value);
    rules.insert(libc::SYS_ioctl, vec![rule([differs(1, TIOCSTI)?, differs(1, TIOCLINUX)?])?]);
    rules.insert(libc::SYS_prlimit64, vec![rule([differs(0, FIRST_PROCESS)?])?]);
    Ok(rules)
}

fn rule<const N: usize>(conditions: [SeccompCondition; N]) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(conditions.into())
}

fn equals(argument: u8, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(mask), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile_and_name_no_dangerous_call() {
        let filters = compile().unwrap();
        assert!(filters.allow_list.len() > allowed::UNCONDITIONALLY.len());
        let rules = allow_list().unwrap();
        for call in [
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_move_mount,
            libc::SYS_open_tree,
            libc::SYS_fsopen,
            libc::SYS_mount_setattr,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_io_uring_setup,
            libc::SYS_io_uring_enter,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_request_key,
            libc::SYS_kexec_load,
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_delete_module,
            libc::SYS_open_by_handle_at,
            libc::SYS_clock_settime,
            libc::SYS_settimeofday,
            libc::SYS_clock_adjtime,
            libc::SYS_reboot,
            libc::SYS_swapon,
            libc::SYS_syslog,
            libc::SYS_acct,
            libc::SYS_quotactl,
            libc::SYS_fanotify_init,
            libc::SYS_kcmp,
        ] {
            assert!(!rules.contains_key(&call), "system call {call} is allowed");
        }
    }
}
