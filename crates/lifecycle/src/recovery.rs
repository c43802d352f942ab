//! What a restart owes each sandbox, as a table: what the store last recorded × what is found on the host.
//!
//! An intent that was recorded is carried out, not taken back: it was admitted, and whoever asked may have been
//! promised nothing but must not be surprised by less than they asked for. So a `Pausing` sandbox found running is
//! paused and a `Resuming` one found paused is resumed. What died meanwhile is reported with what was seen of its end; if
//! nothing of it is left, with that.

use sandscope_engine::FoundState;
use sandscope_model::{Cause, Exit, StateName};

/// What is done with a sandbox when the server starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing: it is as recorded.
    Drive,
    /// Continue its processes: it was to be running.
    Thaw,
    /// Stop its processes: it was to be paused.
    Freeze,
    /// Carry out the pause that was under way; publishes `paused`.
    FinishPause,
    /// Carry out the resume that was under way; publishes `resumed`.
    FinishResume,
    /// Carry out the kill that was under way; publishes `killed`.
    FinishKill,
    /// Record its death and remove what is left of it; publishes `killed`.
    Bury {
        /// What is known about it.
        exit: Exit,
    },
    /// Remove what there is of it and forget it: no client ever knew it. Publishes nothing.
    Forget,
}

/// The table. `found` is `None` where the host has no trace of it, which is for the reason of `missing`. A recorded `Killed` is not asked about: what is
/// found of such a sandbox is removed as an orphan.
pub(crate) fn plan(recorded: StateName, found: Option<&FoundState>, missing: Cause) -> Plan {
    use FoundState::{Dead, Paused, Running};
    use StateName as S;
    match (recorded, found) {
        (S::Creating, _) => Plan::Forget,
        (S::Killing | S::Killed, _) => Plan::FinishKill,
        (S::Running, Some(Running)) | (S::Paused, Some(Paused)) => Plan::Drive,
        (S::Running, Some(Paused)) => Plan::Thaw,
        (S::Paused, Some(Running)) => Plan::Freeze,
        (S::Pausing, Some(Running | Paused)) => Plan::FinishPause,
        (S::Resuming, Some(Running | Paused)) => Plan::FinishResume,
        (S::Running | S::Pausing | S::Paused | S::Resuming, Some(Dead(exit))) => {
            Plan::Bury { exit: exit.clone() }
        }
        (S::Running | S::Pausing | S::Paused | S::Resuming, None) => {
            Plan::Bury { exit: Exit::of_cause(missing) }
        }
    }
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
