//! Connections into each sandbox, counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sandscope_model::SandboxId;

/// How many connections each sandbox has; a sandbox without any has no entry.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    limit: usize,
    counts: Arc<Mutex<HashMap<SandboxId, usize>>>,
}

/// One counted connection, until dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    id: SandboxId,
    counts: Arc<Mutex<HashMap<SandboxId, usize>>>,
}

impl Connections {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, counts: Arc::default() }
    }

    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// Counts one more, or `None` at the limit.
    pub(crate) fn take(&self, id: &SandboxId) -> Option<Connection> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(id.clone()).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Connection { id: id.clone(), counts: Arc::clone(&self.counts) })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_per_sandbox_and_a_dropped_connection_makes_room() {
        let connections = Connections::new(2);
        let one: SandboxId = "i00000000000000000001".parse().unwrap();
        let other: SandboxId = "i00000000000000000002".parse().unwrap();
        let first = connections.take(&one);
        let second = connections.take(&one);
        assert!(first.is_some() && second.is_some());
        assert!(connections.take(&one).is_none());
        assert!(connections.take(&other).is_some());
        drop(first);
        assert!(connections.take(&one).is_some());
        drop(second);
        assert!(connections.counts.lock().unwrap().is_empty());
    }
}
