//! Who yields: pure.
//!
//! A sandbox yields while it takes more of the CPUs than an equal share with one more at the table. So a newcomer finds
//! room, and no one that yields gets less than its share over time: those that go before it take less than theirs, or
//! they would yield as well.
//!
//! One that yields, and has the kernel work for it most of the time, is kept to half of the CPUs as well while others do
//! something: the kernel's work is not interrupted for anybody.

use std::collections::HashMap;

use sandscope_model::SandboxId;

/// Whoever uses less than one such part of one CPU has no share: it hardly computes.
const ACTIVE: u64 = 100;
/// Whoever uses less than one such part of one CPU need not yield.
const MODEST: u64 = 20;
/// So many windows in a row with less than half of a share end it. That also lets go whoever is kept from the CPUs, by
/// others that are nobody's sandbox.
const WINDOWS: u8 = 5;
/// So many windows in a row without a reason to be kept to half of the CPUs end that.
const WINDOWS_OF_HALF: u8 = 20;

/// What was seen of the sandboxes, and who yields.
#[derive(Debug, Default)]
pub(super) struct Policy {
    seen: HashMap<SandboxId, Seen>,
}

/// Which CPUs a sandbox has, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Turn {
    /// As all others.
    #[default]
    Equal,
    /// After those that do not yield.
    Yields,
    /// So, and only half of them.
    Half,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    usage_usec: u64,
    system_usec: u64,
    turn: Turn,
    n_modest: u8,
    n_without: u8,
}

/// One sandbox's CPU time until now, in microseconds, and the kernel's part of it.
#[derive(Debug, Clone)]
pub(super) struct Usage {
    pub(super) id: SandboxId,
    pub(super) usec: u64,
    pub(super) system_usec: u64,
}

/// From now on this one has another turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) id: SandboxId,
    pub(super) from: Turn,
    pub(super) to: Turn,
}

/// What all together did in a window.
#[derive(Debug, Clone, Copy)]
struct Window {
    elapsed_usec: u64,
    /// What each may use without yielding.
    share: u64,
    n_active: u64,
}

impl Policy {
    /// Whether anybody yields.
    pub(super) fn has_yielding(&self) -> bool {
        self.seen.values().any(|seen| seen.turn != Turn::Equal)
    }

    /// Whether anybody is kept to half of the CPUs.
    pub(super) fn has_half(&self) -> bool {
        self.seen.values().any(|seen| seen.turn == Turn::Half)
    }

    /// The next window begins anew: what was seen is too old to count from.
    pub(super) fn forget(&mut self) {
        self.seen.clear();
    }

    /// What follows from `elapsed_usec` in which all those that live came to use so much. Whoever is seen for the first
    /// time is judged the next time.
    pub(super) fn judge(&mut self, elapsed_usec: u64, usages: &[Usage]) -> Vec<Change> {
        let used_by =
            |usage: &Usage| self.seen.get(&usage.id).map(|seen| usage.usec.saturating_sub(seen.usage_usec));
        let used: Vec<Option<u64>> = usages.iter().map(used_by).collect();
        let n_active = used.iter().flatten().filter(|used| **used >= elapsed_usec / ACTIVE).count() as u64;
        let share = used.iter().flatten().sum::<u64>() / (n_active + 1);
        let window = Window { elapsed_usec, share, n_active };
        let before = std::mem::take(&mut self.seen);
        let mut changes = Vec::new();
        for (usage, used) in usages.iter().zip(used) {
            let next = before.get(&usage.id).zip(used).map_or_else(Seen::default, |(seen, used)| {
                let system = usage.system_usec.saturating_sub(seen.system_usec);
                let next = seen.after(used, system, window);
                if next.turn != seen.turn {
                    changes.push(Change { id: usage.id.clone(), from: seen.turn, to: next.turn });
                }
                next
            });
            let next = Seen { usage_usec: usage.usec, system_usec: usage.system_usec, ..next };
            self.seen.insert(usage.id.clone(), next);
        }
        changes
    }
}

impl Seen {
    /// After a window in which it used so much.
    fn after(self, used: u64, system: u64, window: Window) -> Self {
        let yields = self.yields_after(used, window);
        let for_the_kernel = !is_modest(used, window) && system.saturating_mul(2) >= used;
        let n_without =
            if for_the_kernel && window.n_active > 1 { 0 } else { self.n_without.saturating_add(1) };
        let turn = match yields.turn {
            Turn::Equal => Turn::Equal,
            _ if n_without == 0 => Turn::Half,
            Turn::Half if n_without >= WINDOWS_OF_HALF => Turn::Yields,
            turn => turn,
        };
        Self { turn, n_without, ..yields }
    }

    fn yields_after(self, used: u64, window: Window) -> Self {
        let yields = self.turn != Turn::Equal;
        let is_modest = is_modest(used, window);
        if used > window.share && !is_modest {
            return Self { turn: if yields { self.turn } else { Turn::Yields }, n_modest: 0, ..self };
        }
        if !yields || (used >= window.share / 2 && !is_modest) {
            return Self { n_modest: 0, ..self };
        }
        let n_modest = self.n_modest + 1;
        Self { turn: if n_modest < WINDOWS { self.turn } else { Turn::Equal }, n_modest, ..self }
    }
}

const fn is_modest(used: u64, window: Window) -> bool {
    used < window.elapsed_usec / MODEST
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
