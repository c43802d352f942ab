//! When keys were last used, as far as it is worth writing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sandscope_model::{ApiKeyId, Timestamp};

/// When keys were last noted as used, so that a busy key costs one write a minute and not one a request.
#[derive(Debug, Default)]
pub(crate) struct Touched(Mutex<HashMap<ApiKeyId, Timestamp>>);

impl Touched {
    /// Keys remembered; beyond it the memory starts afresh, which only costs writes.
    const MAX: usize = 4096;

    /// Whether a use at `at` is worth writing.
    pub(crate) fn is_due(&self, id: ApiKeyId, at: Timestamp) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.get(&id).is_some_and(|last| at.as_second().saturating_sub(last.as_second()) < 60) {
            return false;
        }
        if noted.len() >= Self::MAX {
            noted.clear();
        }
        noted.insert(id, at);
        true
    }
}
