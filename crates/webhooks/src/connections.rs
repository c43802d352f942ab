//! The server's connections beyond one per webhook, handed out so that no tenant can take them all.
//!
//! A tenant may hold as many as it would get if all that hold any, and one more, had equal shares. Whoever comes new
//! therefore always finds some, and a tenant that is alone has at most half. Nobody waits: a webhook that gets none
//! goes on with the connection that every webhook has of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sandscope_model::TeamId;

/// The connections.
pub(crate) struct Connections {
    total: usize,
    held: Mutex<HashMap<TeamId, usize>>,
}

impl Connections {
    pub(crate) fn new(total: usize) -> Arc<Self> {
        Arc::new(Self { total, held: Mutex::default() })
    }

    /// One for `team`, if its share allows.
    pub(crate) fn take(self: &Arc<Self>, team: TeamId) -> Option<Permit> {
        let mut held = self.lock();
        let mine = held.get(&team).copied().unwrap_or(0);
        let n_teams = held.len() + usize::from(mine == 0);
        let taken: usize = held.values().sum();
        // At least one, however many tenants there are, as long as there are any left.
        let share = (self.total / (n_teams + 1)).max(1);
        if taken >= self.total || mine >= share {
            return None;
        }
        held.insert(team, mine + 1);
        drop(held);
        Some(Permit { connections: Arc::clone(self), team })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TeamId, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that may be open. Dropping it gives it back.
pub(crate) struct Permit {
    connections: Arc<Connections>,
    team: TeamId,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.connections.lock();
        if let Some(n) = held.get_mut(&self.team) {
            *n -= 1;
            if *n == 0 {
                held.remove(&self.team);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team(n: u128) -> TeamId {
        uuid::Uuid::from_u128(n).into()
    }

    fn take_all(connections: &Arc<Connections>, team: TeamId) -> Vec<Permit> {
        std::iter::from_fn(|| connections.take(team)).collect()
    }

    #[test]
    fn whoever_comes_new_finds_some_and_shares_even_out() {
        let connections = Connections::new(120);
        let greedy = take_all(&connections, team(1));
        assert_eq!(greedy.len(), 60);
        let second = take_all(&connections, team(2));
        assert_eq!(second.len(), 40);
        let third = take_all(&connections, team(3));
        assert_eq!(third.len(), 20, "what is left");
        drop(greedy);
        assert_eq!(take_all(&connections, team(1)).len(), 30);
        drop((second, third));
        assert!(connections.lock().is_empty());
    }

    #[test]
    fn what_is_not_there_is_not_handed_out() {
        let none = Connections::new(0);
        assert!(none.take(team(1)).is_none());
        let few = Connections::new(2);
        let held: Vec<_> = (1..9).filter_map(|n| few.take(team(n))).collect();
        assert_eq!(held.len(), 2);
    }
}
