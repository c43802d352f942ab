//! One after the other for each name.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Names that somebody works on, alone.
#[derive(Debug, Default)]
pub(super) struct Turns {
    taken: Mutex<HashSet<String>>,
    given_back: Condvar,
}

/// Nobody else has this name until this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    name: String,
}

impl Turns {
    /// Waits until nobody has `name`. Blocks the thread.
    pub(super) fn take(&self, name: &str) -> Turn<'_> {
        let is_taken = |taken: &mut HashSet<String>| taken.contains(name);
        let waited = self.given_back.wait_while(self.taken(), is_taken);
        waited.unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        Turn { turns: self, name: name.to_owned() }
    }

    fn taken(&self) -> MutexGuard<'_, HashSet<String>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.taken().remove(&self.name);
        self.turns.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_name_is_one_s_alone_and_others_do_not_wait_for_it() {
        let (turns, n_inside) = (Turns::default(), AtomicUsize::new(0));
        let _other = turns.take("other");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let _turn = turns.take("name");
                        assert_eq!(n_inside.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        n_inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(turns.taken().len(), 1, "only what is held is remembered");
    }
}
