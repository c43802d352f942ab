//! Ids that somebody is working on: a sandbox in the making or on its way out has traces of which nothing is held.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sandscope_model::SandboxId;

/// Ids somebody is working on.
#[derive(Debug, Clone, Default)]
pub(super) struct Busy(Arc<Mutex<HashMap<SandboxId, usize>>>);

/// Somebody is working on this id until this is dropped.
#[derive(Debug)]
pub(super) struct BusyWith {
    busy: Busy,
    id: SandboxId,
}

impl Busy {
    pub(super) fn with(&self, id: &SandboxId) -> BusyWith {
        *self.lock().entry(id.clone()).or_default() += 1;
        BusyWith { busy: self.clone(), id: id.clone() }
    }

    pub(super) fn has(&self, id: &SandboxId) -> bool {
        self.lock().contains_key(id)
    }

    /// All of them.
    pub(super) fn ids(&self) -> Vec<SandboxId> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SandboxId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for BusyWith {
    fn drop(&mut self) {
        let mut busy = self.busy.lock();
        if let Some(n) = busy.get_mut(&self.id) {
            *n -= 1;
            if *n == 0 {
                busy.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_busy_until_everybody_is_done_with_it() {
        let busy = Busy::default();
        let id: SandboxId = "i0123456789abcdefghij".parse().unwrap();
        let (first, second) = (busy.with(&id), busy.with(&id));
        drop(first);
        assert!(busy.has(&id));
        drop(second);
        assert!(!busy.has(&id));
    }
}
