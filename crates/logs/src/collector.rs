use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sandscope_model::{Clock, Event, SandboxId};
use sandscope_runtime::Runtime;
use sandscope_store::{LogBatch, Store, Tail};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::follower::follow;
use crate::pace::Pace;
use crate::story;

/// How often the collector looks for sandboxes it does not follow.
const LOOK: Duration = Duration::from_millis(250);
/// Events taken at once.
const EVENTS: u32 = 256;
/// How long the store is left alone after it failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

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
        tasks.spawn(tell(store.tail_from_now(), store.clone(), Arc::clone(&clock), stop.clone()));
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

/// Writes what happens to sandboxes into their logs, until it is stopped and everything that happened is written.
async fn tell(mut tail: Tail, store: Store, clock: Arc<dyn Clock>, stop: CancellationToken) {
    loop {
        let batch = tokio::select! {
            biased;
            batch = tail.next(EVENTS) => batch,
            () = stop.cancelled() => break,
        };
        match batch {
            Ok(batch) => write(&store, &batch.events).await,
            Err(error) => {
                tracing::warn!(%error, "lifecycle lines cannot be written for now: the events cannot be read");
                if stop.run_until_cancelled(clock.sleep(STORE_PAUSE)).await.is_none() {
                    return;
                }
            }
        }
    }
    while let Ok(Some(batch)) = tail.try_next(EVENTS).await {
        write(&store, &batch.events).await;
    }
}

async fn write(store: &Store, events: &[Arc<Event>]) {
    for event in events {
        let Some(sandbox) = event.subject.sandbox() else { continue };
        let Some(entry) = story::entry(event) else { continue };
        let batch = LogBatch { sandbox_id: sandbox.id.clone(), entries: vec![entry], taken_upto: None };
        if let Err(error) = store.append_logs(batch).await {
            tracing::debug!(sandbox_id = %sandbox.id, %error, "a lifecycle line is missing in a log");
        }
    }
}
