//! The system calls a sandbox may make. Compiled once, installed in every sandbox.
//!
//! An allow-list: what is not named fails with `EPERM`, so that a call a future kernel invents is refused until
//! somebody has thought about it. `clone3` fails with `ENOSYS`, because its arguments lie in memory where a
//! filter cannot look, and the C library then falls back to `clone`, whose flags it can; and so do calls that take what
//! the whole host has one pool of, which one sandbox could empty, and that programs do without where a kernel has none.
//!
//! Setting the limit of core dumps does nothing and succeeds. It stands at one byte, by which the kernel leaves out
//! dumps into files and into the host's program for them alike; at zero it starts that program, on the host. Programs
//! with secrets ask for zero, and some end if they do not get it.
//!
//! `docs/security/kernel-pools.md` goes through the list.

mod allowed;
mod ballast;
mod rules;

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch};

use crate::linux::protocol::{Failure, InStep as _};

/// The programs to install, in this order.
pub(super) struct Filters {
    absent: BpfProgram,
    idle: BpfProgram,
    allow_list: BpfProgram,
    unsupported: BpfProgram,
}

impl Filters {
    pub(super) fn compile() -> Result<Self, Failure> {
        compile().map_err(|error| Failure::new("compile the system call filter", error))
    }

    /// Takes up the room that sandboxes' own filters must not have. Once, in the launcher: see [`ballast`].
    pub(super) fn install_ballast(&self) -> Result<(), Failure> {
        ballast::install(&self.all())
    }

    /// Installs those of a sandbox. Of two that refuse a call, the later one's answer counts: what answers otherwise than the
    /// allow-list goes after it, and the allow-list lets an installation through.
    pub(super) fn install(&self) -> Result<(), Failure> {
        self.all().into_iter().try_for_each(install)
    }

    const fn all(&self) -> [&BpfProgram; 4] {
        [&self.absent, &self.idle, &self.allow_list, &self.unsupported]
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.all().len()
    }
}

fn install(program: &BpfProgram) -> Result<(), Failure> {
    let step = "install the system call filter";
    seccompiler::apply_filter(program).map_err(|error| Failure::new(step, error))?;
    Ok::<_, std::io::Error>(()).step(step)
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn compile() -> Result<Filters, seccompiler::BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let answering = |calls: &[(&str, i64)], some: Vec<rules::Ruled>, errno: i32| {
        let all = calls.iter().map(|(_, number)| (*number, vec![]));
        let rules: Rules = all.chain(some.into_iter().map(|(_, number, rules)| (number, rules))).collect();
        let answer = SeccompAction::Errno(errno.unsigned_abs());
        SeccompFilter::new(rules, SeccompAction::Allow, answer, arch)?.try_into()
    };
    let absent = answering(allowed::ABSENT, vec![], libc::ENOSYS)?;
    let idle = answering(allowed::IDLE, rules::idle()?, 0)?;
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let allow_list = SeccompFilter::new(allow_list()?, refused, SeccompAction::Allow, arch)?;
    let unsupported = answering(&[], rules::unsupported()?, libc::EPROTONOSUPPORT)?;
    Ok(Filters { absent, idle, allow_list: allow_list.try_into()?, unsupported })
}

fn allow_list() -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = allowed::unconditionally().map(|(_, number)| (*number, vec![])).collect();
    rules.extend(rules::rules()?.into_iter().map(|(_, number, rules)| (number, rules)));
    Ok(rules)
}

#[cfg(test)]
#[path = "seccomp_tests.rs"]
mod tests;
