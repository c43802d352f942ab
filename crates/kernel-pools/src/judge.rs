//! Which sandboxes are to end for what they take of the kernel. Pure.

use std::collections::BTreeMap;

use sandscope_model::{Cause, SandboxId};

use crate::Host;

/// Sandboxes are looked at again when the kernel's memory grew by one such part of the budget, …
const STEP: u64 = 4;
/// … or after so many looks at the host alone.
const QUIET_LOOKS: u32 = 40;
/// How much the kernel's memory may grow, in budgets, while nobody sees what for.
const UNSEEN_BUDGETS: u64 = 4;
/// After so much of the host's time in the kernel, in microseconds, growth counts half: five minutes of one CPU.
const HALF_AFTER_USEC: u64 = 300_000_000;
/// Of the host's open files, one sandbox may have one such part once half of all are open.
const FILES_SHARE: u64 = 8;

/// What one sandbox was seen to hold, in bytes that nobody is charged for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The sandbox.
    pub id: SandboxId,
    pub(crate) lock_bytes: u64,
    pub(crate) socket_bytes: u64,
    pub(crate) file_bytes: u64,
    pub(crate) n_files: u64,
    /// The kernel's memory that the sandbox is charged for.
    pub(crate) charged_bytes: u64,
    /// CPU time its processes spent in the kernel, in microseconds.
    pub(crate) system_usec: u64,
}

impl Seen {
    /// All of it.
    pub const fn held_bytes(&self) -> u64 {
        self.lock_bytes.saturating_add(self.socket_bytes).saturating_add(self.file_bytes)
    }

    /// What most of it is for.
    const fn main_cause(&self) -> Cause {
        if self.lock_bytes >= self.socket_bytes && self.lock_bytes >= self.file_bytes {
            Cause::FileLocks
        } else if self.socket_bytes >= self.file_bytes {
            Cause::SocketBuffers
        } else {
            Cause::OpenFiles
        }
    }
}

/// What follows from a look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judgement {
    /// The sandboxes to end, and of what they die.
    pub ended: Vec<(SandboxId, Cause)>,
    /// How much more the kernel uses than it did at the least, beside what sandboxes are charged for.
    pub grown_bytes: u64,
    /// Whether that is much, and no sandbox is known for it.
    pub is_unknown: bool,
}

/// What was seen so far.
#[derive(Debug)]
pub struct Watch {
    /// What a sandbox may hold.
    budget: u64,
    /// The least that the kernel used.
    lowest: u64,
    /// What it used when sandboxes were last looked at, and looks at the host since.
    judged: u64,
    n_quiet: u32,
    /// Of what cannot be taken back, the least beside what sandboxes are charged for, and the last.
    beside: Option<Beside>,
    /// Growth that nobody saw the reason of, by who kept the kernel busy meanwhile.
    blame: BTreeMap<SandboxId, u64>,
    /// The time of each at the last look.
    times: BTreeMap<SandboxId, u64>,
}

#[derive(Debug, Clone, Copy)]
struct Beside {
    lowest: u64,
    last: u64,
    system_usec: u64,
}

impl Watch {
    /// Of sandboxes that may hold `budget` bytes each.
    pub const fn new(budget: u64) -> Self {
        Self {
            budget,
            lowest: u64::MAX,
            judged: 0,
            n_quiet: 0,
            beside: None,
            blame: BTreeMap::new(),
            times: BTreeMap::new(),
        }
    }

    /// Whether the host gives reason to look at every sandbox.
    pub fn suspects(&mut self, host: &Host) -> bool {
        self.lowest = self.lowest.min(host.kernel_bytes);
        // What was given back in between may be taken again.
        self.judged = self.judged.min(host.kernel_bytes).max(self.lowest);
        self.n_quiet = self.n_quiet.saturating_add(1);
        let step = host.kernel_bytes - self.judged > self.budget / STEP;
        let grown = host.kernel_bytes - self.lowest > self.budget || is_short_of_files(host);
        let is_due = self.beside.is_none() || step || (grown && self.n_quiet > QUIET_LOOKS);
        if is_due {
            (self.judged, self.n_quiet) = (host.kernel_bytes, 0);
        }
        is_due
    }

    /// Judges what was seen. Whoever was not seen any more is forgotten.
    pub fn judge(&mut self, host: &Host, sandboxes: &[Seen]) -> Judgement {
        let charged: u64 = sandboxes.iter().fold(0, |sum, seen| sum.saturating_add(seen.charged_bytes));
        let now = host.fixed_bytes.saturating_sub(charged);
        let lowest = self.beside.map_or(now, |before| before.lowest.min(now));
        self.share_blame(host, now, sandboxes);
        self.beside = Some(Beside { lowest, last: now, system_usec: host.system_usec });
        self.times = sandboxes.iter().map(|seen| (seen.id.clone(), seen.system_usec)).collect();
        let grown_bytes = now - lowest;
        let mut judgement = Judgement { grown_bytes, ..Judgement::default() };
        let held: u64 = sandboxes.iter().fold(0, |sum, seen| sum.saturating_add(seen.held_bytes()));
        for seen in sandboxes {
            if let Some(cause) = self.verdict(host, seen, grown_bytes, held) {
                judgement.ended.push((seen.id.clone(), cause));
            }
        }
        let is_much = grown_bytes.saturating_sub(held) > self.budget.saturating_mul(UNSEEN_BUDGETS);
        judgement.is_unknown = is_much && judgement.ended.is_empty();
        judgement
    }

    fn verdict(&self, host: &Host, seen: &Seen, grown: u64, held: u64) -> Option<Cause> {
        if seen.held_bytes() > self.budget {
            return Some(seen.main_cause());
        }
        if is_short_of_files(host) && seen.n_files > host.max_files / FILES_SHARE {
            return Some(Cause::OpenFiles);
        }
        let blame = self.blame.get(&seen.id).copied().unwrap_or_default();
        let is_much = blame > self.budget.saturating_mul(UNSEEN_BUDGETS);
        // Growth whose reason was seen is no riddle. Three quarters of all of it: nobody else can be meant.
        (is_much && grown.saturating_sub(held) > self.budget && blame / 3 >= grown / 4)
            .then_some(Cause::KernelMemory)
    }

    /// Growth is shared among those who kept the kernel busy since the last look, the host's own work among them.
    fn share_blame(&mut self, host: &Host, now: u64, sandboxes: &[Seen]) {
        let Some(before) = self.beside else { return };
        let passed = host.system_usec.saturating_sub(before.system_usec);
        let (grown, shrunk) = (now.saturating_sub(before.last), before.last.saturating_sub(now));
        let total: u64 = self.blame.values().fold(0, |sum, blame| sum.saturating_add(*blame));
        let mut shared = BTreeMap::new();
        for seen in sandboxes {
            let was = self.times.get(&seen.id).copied().unwrap_or(seen.system_usec);
            let own = seen.system_usec.saturating_sub(was).min(passed);
            let old = self.blame.get(&seen.id).copied().unwrap_or_default();
            let old = old.saturating_sub(part(shrunk, old, total));
            let old = old.saturating_sub(part(old / 2, passed.min(HALF_AFTER_USEC), HALF_AFTER_USEC));
            let blame = old.saturating_add(part(grown, own, passed));
            if blame > 0 {
                shared.insert(seen.id.clone(), blame);
            }
        }
        self.blame = shared;
    }
}

const fn is_short_of_files(host: &Host) -> bool {
    host.n_files > host.max_files / 2
}

/// `of` times `share` over `whole`, and never more than `of`.
fn part(of: u64, share: u64, whole: u64) -> u64 {
    let (of_all, share) = (u128::from(of), u128::from(share.min(whole)));
    u64::try_from(of_all * share / u128::from(whole.max(1))).unwrap_or(of)
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
