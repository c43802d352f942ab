use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use sandscope_agent_protocol::{Code, ConnectError};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::hub::Hub;
use super::watcher::Watcher;
use crate::random;

/// Watchers of both kinds at a time.
const MAX_WATCHERS: usize = 64;

/// How long a watcher is kept that nobody asks for events.
const IDLE_LIMIT: Duration = Duration::from_secs(3600);

/// How often idle ones are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Everybody who watches.
#[derive(Default)]
pub(crate) struct Watches {
    /// There while anybody watches, with the task that reads it.
    hub: RefCell<Option<(Rc<Hub>, AbortHandle)>>,
    watching: Cell<usize>,
    /// Those that are asked for events, by id.
    asked: RefCell<BTreeMap<String, Asked>>,
    sweeps: Cell<bool>,
}

struct Asked {
    watching: Watching,
    last: Instant,
}

/// A watcher at work; ends when dropped.
pub(super) struct Watching {
    watches: Rc<Watches>,
    hub: Option<Rc<Hub>>,
    pub(super) watcher: Rc<Watcher>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(hub) = &self.hub {
            hub.remove(&self.watcher);
        }
        let left = self.watches.watching.get() - 1;
        self.watches.watching.set(left);
        if left == 0
            && let Some((_, task)) = self.watches.hub.take()
        {
            task.abort();
        }
    }
}

impl Watches {
    /// Begins to watch.
    pub(super) async fn begin(self: &Rc<Self>, watcher: Watcher) -> Result<Watching, ConnectError> {
        if self.watching.get() >= MAX_WATCHERS {
            let message = format!("no more than {MAX_WATCHERS} watchers are possible at a time");
            return Err(ConnectError::new(Code::ResourceExhausted, message));
        }
        // Counted first: from here on the hub is kept, and dropping gives the place back.
        self.watching.set(self.watching.get() + 1);
        let mut watching = Watching { watches: Rc::clone(self), hub: None, watcher: Rc::new(watcher) };
        let hub = self.hub()?;
        watching.hub = Some(Rc::clone(&hub));
        hub.add(&watching.watcher).await?;
        Ok(watching)
    }

    fn hub(&self) -> Result<Rc<Hub>, ConnectError> {
        let mut hub = self.hub.borrow_mut();
        if let Some((hub, task)) = hub.as_ref()
            && !task.is_finished()
        {
            return Ok(Rc::clone(hub));
        }
        let new = Hub::new()?;
        let task = tokio::task::spawn_local(Rc::clone(&new).run()).abort_handle();
        *hub = Some((Rc::clone(&new), task));
        Ok(new)
    }

    /// Keeps a watcher to be asked for its events, under the id returned.
    pub(super) fn keep(self: &Rc<Self>, watching: Watching) -> Result<String, ConnectError> {
        let word = random::word(20);
        let word = word.map_err(|error| ConnectError::new(Code::Internal, error.to_string()))?;
        let id = format!("w{word}");
        self.asked.borrow_mut().insert(id.clone(), Asked { watching, last: Instant::now() });
        if !self.sweeps.replace(true) {
            tokio::task::spawn_local(Rc::clone(self).sweep());
        }
        Ok(id)
    }

    pub(super) fn find(&self, id: &str) -> Result<Rc<Watcher>, ConnectError> {
        let mut asked = self.asked.borrow_mut();
        let found = asked.get_mut(id).ok_or_else(|| unknown(id))?;
        found.last = Instant::now();
        Ok(Rc::clone(&found.watching.watcher))
    }

    pub(super) fn forget(&self, id: &str) -> Result<(), ConnectError> {
        // Dropped without the borrow, since that comes back to us.
        let found = self.asked.borrow_mut().remove(id);
        found.map(drop).ok_or_else(|| unknown(id))
    }

    /// Removes those nobody asks any more; ends when none are left.
    async fn sweep(self: Rc<Self>) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let idle: Vec<Asked> = {
                let mut asked = self.asked.borrow_mut();
                asked
                    .extract_if(.., |_, asked| asked.last.elapsed() >= IDLE_LIMIT)
                    .map(|(_, asked)| asked)
                    .collect()
            };
            drop(idle);
            if self.asked.borrow().is_empty() {
                self.sweeps.set(false);
                return;
            }
        }
    }
}

fn unknown(id: &str) -> ConnectError {
    ConnectError::new(Code::NotFound, format!("watcher with id {id} not found"))
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
