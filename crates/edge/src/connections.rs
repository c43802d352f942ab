//! Connections into each sandbox, counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sandscope_agent_protocol::AGENT_PORT;
use sandscope_model::SandboxId;

use crate::Target;

/// What is counted together. The agent apart from the programs inside: a client that a program keeps waiting, or lets
/// in without a key, must not lock the sandbox's owner out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Door {
    id: SandboxId,
    is_agents: bool,
}

/// How many connections go through each door; one without any has no entry.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    limit: usize,
    counts: Arc<Mutex<HashMap<Door, usize>>>,
}

/// One counted connection, until dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    door: Door,
    counts: Arc<Mutex<HashMap<Door, usize>>>,
}

impl Connections {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, counts: Arc::default() }
    }

    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// Counts one more, or `None` at the limit.
    pub(crate) fn take(&self, target: &Target) -> Option<Connection> {
        let door = Door { id: target.id.clone(), is_agents: target.port == AGENT_PORT };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(door.clone()).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Connection { door, counts: Arc::clone(&self.counts) })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.door) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.door);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_per_door_and_a_dropped_connection_makes_room() {
        let connections = Connections::new(2);
        let to = |id: &str, port| Target { id: id.parse().unwrap(), port };
        let one = to("i00000000000000000001", 80);
        let first = connections.take(&one);
        let second = connections.take(&to("i00000000000000000001", 8080));
        assert!(first.is_some() && second.is_some());
        assert!(connections.take(&one).is_none());
        assert!(connections.take(&to("i00000000000000000002", 80)).is_some());
        assert!(
            connections.take(&to("i00000000000000000001", AGENT_PORT)).is_some(),
            "the owner is locked out"
        );
        drop(first);
        assert!(connections.take(&one).is_some());
        drop(second);
        assert!(connections.counts.lock().unwrap().is_empty());
    }
}
