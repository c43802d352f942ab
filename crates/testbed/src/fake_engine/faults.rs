use std::collections::{BTreeMap, BTreeSet};

use super::FakeEngine;

/// An operation of the engine, to aim a fault at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "named after the operations of Engine")]
pub enum Op {
    Create,
    Pause,
    Resume,
    Checkpoint,
    DeleteSnapshot,
    Kill,
}

impl Op {
    /// Every operation.
    pub const ALL: [Self; 6] =
        [Self::Create, Self::Pause, Self::Resume, Self::Checkpoint, Self::DeleteSnapshot, Self::Kill];

    /// What it does, as an engine says that it cannot.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Create => "making such a sandbox",
            Self::Pause => "pausing",
            Self::Resume => "resuming",
            Self::Checkpoint => "capturing a sandbox",
            Self::DeleteSnapshot => "removing a snapshot",
            Self::Kill => "killing",
        }
    }
}

/// A question to the engine, which changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// What is counted of a sandbox.
    Counters,
    /// Which sandboxes run.
    Running,
    /// What is on the host.
    Survey,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operation does nothing and fails.
    Fail,
    /// The operation does nothing and answers that this engine cannot do such a thing.
    Unsupported,
    /// The operation does nothing and answers that the host has no room.
    Full,
    /// The operation does what it should and fails all the same.
    FailAfterEffect,
    /// The operation panics before it does anything.
    PanicBefore,
    /// The operation panics once it has done what it should.
    PanicAfter,
    /// The server stops dead before the operation does anything.
    HaltBefore,
    /// The server stops dead once the operation has done what it should.
    HaltAfter,
}

/// When it goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// At the n-th operation from now, whichever it is; 0 is the next.
    Nth(u64),
    /// At the next operation of this kind.
    Next(Op),
    /// At every operation of this kind.
    Every(Op),
}

/// The faults planned for one life of the server.
#[derive(Debug, Default)]
pub(super) struct Faults {
    planned: Vec<(Trigger, Fault)>,
    held: BTreeSet<Op>,
    /// Operations waiting because their kind is held.
    waiting: Vec<Op>,
    n_operations: u64,
    /// How many of each question panic from now on.
    n_poisoned: BTreeMap<Question, u32>,
}

impl Faults {
    /// An operation begins: which fault meets it, if any?
    pub(super) fn begin(&mut self, op: Op) -> Option<Fault> {
        self.n_operations += 1;
        let mut met = None;
        self.planned.retain_mut(|(trigger, fault)| {
            let (hit, keep) = match trigger {
                Trigger::Nth(0) => (true, false),
                Trigger::Nth(n) => {
                    *n -= 1;
                    (false, true)
                }
                Trigger::Next(wanted) => (*wanted == op, *wanted != op),
                Trigger::Every(wanted) => (*wanted == op, true),
            };
            if hit && met.is_none() {
                met = Some(*fault);
                keep
            } else {
                // Only one fault meets one operation; another `Next` waits for its turn.
                keep || hit && matches!(trigger, Trigger::Next(_))
            }
        });
        met
    }

    /// A question is asked: panics where that is planned.
    pub(super) fn ask(&mut self, question: Question) {
        if let Some(n) = self.n_poisoned.get_mut(&question).filter(|n| **n > 0) {
            *n -= 1;
            panic!("planned, at the question {question:?}");
        }
    }

    pub(super) fn is_held(&self, op: Op) -> bool {
        self.held.contains(&op)
    }

    pub(super) fn enter(&mut self, op: Op) {
        self.waiting.push(op);
    }

    pub(super) fn leave(&mut self, op: Op) {
        if let Some(index) = self.waiting.iter().position(|waiting| *waiting == op) {
            self.waiting.swap_remove(index);
        }
    }
}

impl FakeEngine {
    /// Plans a fault. Several may be planned; the first that fits meets the operation.
    pub fn inject(&self, trigger: Trigger, fault: Fault) {
        self.change(|state| state.faults.planned.push((trigger, fault)));
    }

    /// The next `n` of such questions panic.
    pub fn poison(&self, question: Question, n: u32) {
        self.change(|state| state.faults.n_poisoned.insert(question, n));
    }

    /// Forgets every planned fault.
    pub fn heal(&self) {
        self.change(|state| state.faults.planned.clear());
    }

    /// Makes operations of this kind wait until [`release`](Self::release), before they do anything.
    pub fn hold(&self, op: Op) {
        self.change(|state| state.faults.held.insert(op));
    }

    /// Lets held operations of this kind go on.
    pub fn release(&self, op: Op) {
        self.change(|state| state.faults.held.remove(&op));
    }

    /// Completes once an operation of this kind waits for its release.
    pub async fn wait_held(&self, op: Op) {
        self.wait_until("an operation is held", |runtime| runtime.lock().faults.waiting.contains(&op)).await;
    }

    /// Operations begun in this life of the server.
    pub fn n_operations(&self) -> u64 {
        self.lock().faults.n_operations
    }

    /// Whether a fault has stopped the server dead.
    pub fn is_halted(&self) -> bool {
        self.lock().halted
    }
}
