use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sandscope_model::{Sandbox, StateName, TeamId};

/// How many sandboxes of each team run, start or are being paused or resumed. The store checks the same limit when
/// it admits a new sandbox; this count also covers resumes, which admit nothing new.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slots {
    taken: Arc<Mutex<HashMap<TeamId, u32>>>,
}

/// One of a team's places. It is free again once this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Slots,
    team_id: TeamId,
}

impl Slots {
    /// Takes a place unless `limit` are taken.
    pub(crate) fn take(&self, team_id: TeamId, limit: u32) -> Option<Slot> {
        {
            let mut taken = self.lock();
            let n = taken.entry(team_id).or_default();
            if *n >= limit {
                return None;
            }
            *n += 1;
        }
        Some(Slot { slots: self.clone(), team_id })
    }

    /// The place of a sandbox that already runs: a limit that was lowered meanwhile does not end it.
    pub(crate) fn take_over(&self, sandbox: &Sandbox) -> Option<Slot> {
        use StateName::{Creating, Pausing, Resuming, Running};
        let holds_place = matches!(sandbox.state.name(), Creating | Running | Pausing | Resuming);
        holds_place.then(|| self.take(sandbox.team_id, u32::MAX)).flatten()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TeamId, u32>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        if let Some(n) = taken.get_mut(&self.team_id) {
            *n -= 1;
            if *n == 0 {
                taken.remove(&self.team_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_once_it_is_given_back() {
        let slots = Slots::default();
        let team = TeamId::from(uuid::Uuid::from_u128(1));
        let first = slots.take(team, 2).unwrap();
        let _second = slots.take(team, 2).unwrap();
        assert!(slots.take(team, 2).is_none());
        assert!(slots.take(TeamId::from(uuid::Uuid::from_u128(2)), 1).is_some());
        drop(first);
        assert!(slots.take(team, 2).is_some());
    }
}
