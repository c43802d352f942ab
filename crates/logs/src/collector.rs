use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sandscope_model::{Clock, SandboxId};
use sandscope_runtime::Runtime;
use sandscope_store::{LogBatch, Store};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::follower::follow;
use crate::pace::Pace;
use crate::story;

/// How often the collector looks for sandboxes it does not follow.
const LOOK: Duration = Duration::from_millis(250);

/// What a collector is made of.
#[derive(Clone)]
pub struct LogsOptions {
    /// Where lines go, and where events come from.
    pub store: Store,
    /// Whose agents are asked.
    pub runtime: Arc<dyn Runtime>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for LogsOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogsOptions").finish_non_exhaustive()
    }
}

/// Collects the logs of every running sandbox until it is drained.
#[derive(Debug)]
pub struct Logs {
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What all followers share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pace: Pace,
    followed: Mutex<HashSet<SandboxId>>,
}

impl Logs {
    /// Starts collecting.
    pub fn start(options: LogsOptions) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let LogsOptions { store, runtime, clock } = options;
        tasks.spawn(tell(store.clone(), stop.clone()));
        let (pace, followed) = (Pace::default(), Mutex::default());
        let shared = Arc::new(Shared { store, runtime, clock, pace, followed });
        tasks.spawn(watch(shared, tasks.clone(), stop.clone()));
        Self { stop, tasks }
    }

    /// Ends. What is not fetched yet stays with the agents for the next start.
    pub async fn drain(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Sees to it that every running sandbox has a follower.
async fn watch(shared: Arc<Shared>, tasks: TaskTracker, stop: CancellationToken) {
    loop {
        for id in shared.runtime.running() {
            let Some(place) = Place::take(&shared, &id) else { continue };
            let (shared, stop) = (Arc::clone(&shared), stop.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = follow(&shared, &id) => {}
                }
                drop(place);
            });
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.clock.sleep(LOOK) => {}
        }
    }
}

/// The right to follow a sandbox, until dropped.
struct Place {
    shared: Arc<Shared>,
    id: SandboxId,
}

impl Place {
    fn take(shared: &Arc<Shared>, id: &SandboxId) -> Option<Self> {
        let is_new = shared.followed.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone());
        is_new.then(|| Self { shared: Arc::clone(shared), id: id.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.followed.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// Writes what happens to sandboxes into their logs.
async fn tell(store: Store, stop: CancellationToken) {
    let mut feed = store.subscribe_events();
    loop {
        let event = tokio::select! {
            biased;
            event = feed.recv() => event,
            // Only once everything that happened is told.
            () = stop.cancelled() => return,
        };
        match event {
            Ok(event) => {
                let Some(entry) = story::entry(&event) else { continue };
                let entries = vec![entry];
                let batch = LogBatch { sandbox_id: event.sandbox_id.clone(), entries, taken_upto: None };
                if let Err(error) = store.append_logs(batch).await {
                    tracing::debug!(sandbox_id = %event.sandbox_id, %error, "a lifecycle line is missing in a log");
                }
            }
            Err(RecvError::Lagged(n_events)) => {
                tracing::warn!(
                    n_events,
                    "lifecycle lines are missing in logs; the events themselves are recorded"
                );
            }
            Err(RecvError::Closed) => return,
        }
    }
}
