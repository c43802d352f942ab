use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sandscope_engine::{Dial, Readings};
use sandscope_model::{Clock, SandboxId};
use sandscope_store::{EventLog, NodeFacts};
use sandscope_tasks::{Crew, Phase, Task, Tasks};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::follower::follow;
use crate::pace::Pace;
use crate::story::Story;

/// How often the collector looks for sandboxes it does not follow.
const LOOK: Duration = Duration::from_millis(250);
/// How long a sandbox is left alone after its follower failed.
const PENALTY: Duration = Duration::from_secs(30);

/// What a collector is made of.
#[derive(Clone)]
pub struct LogsOptions {
    /// Where lines go.
    pub facts: Arc<dyn NodeFacts>,
    /// Where events come from: of all nodes.
    pub log: EventLog,
    /// Which sandboxes run.
    pub readings: Arc<dyn Readings>,
    /// How their agents are reached.
    pub door: Arc<dyn Dial>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for LogsOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogsOptions").finish_non_exhaustive()
    }
}

/// What all followers share.
pub(crate) struct Shared {
    pub(crate) facts: Arc<dyn NodeFacts>,
    pub(crate) readings: Arc<dyn Readings>,
    pub(crate) door: Arc<dyn Dial>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pace: Pace,
    followed: Mutex<HashSet<SandboxId>>,
    followers: Crew,
    /// The followers under way.
    under_way: TaskTracker,
}

/// Collects the logs of every running sandbox until `tasks` are drained. What is not fetched by then stays with the
/// agents for the next start.
pub fn start(options: LogsOptions, tasks: &Tasks) {
    let stop = tasks.stopping(Phase::Collect);
    let LogsOptions { facts, log, readings, door, clock } = options;
    let story = Arc::new(Story::new(&log, Arc::clone(&facts), Arc::clone(&clock)));
    let stopped = stop.clone();
    tasks
        .start(Task::restart("log-story", Phase::Collect), move || Arc::clone(&story).write(stopped.clone()));
    let under_way = TaskTracker::new();
    let shared = Arc::new(Shared {
        facts,
        readings,
        door,
        clock,
        pace: Pace::default(),
        followed: Mutex::default(),
        followers: tasks.crew("log-followers", Phase::Collect),
        under_way: under_way.clone(),
    });
    tasks.start(Task::restart("log-collector", Phase::Collect), move || {
        watch(Arc::clone(&shared), stop.clone())
    });
    tasks.at_drain(Phase::Collect, |_| async move {
        under_way.close();
        under_way.wait().await;
    });
}

/// Sees to it that every running sandbox has a follower.
async fn watch(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        for id in shared.readings.running() {
            let Some(place) = Following::take(&shared, &id) else { continue };
            let (follower, stop) = (Arc::clone(&shared), stop.clone());
            shared.under_way.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = follow_safely(&follower, &id) => {}
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

/// Follows a sandbox. After a failure its place stays taken for a while: the next follower goes on from what is stored,
/// and might fail by the same.
async fn follow_safely(shared: &Shared, id: &SandboxId) {
    if shared.followers.run(id, follow(shared, id)).await.is_err() {
        shared.clock.sleep(PENALTY).await;
    }
}

/// The right to follow a sandbox, until dropped.
struct Following {
    shared: Arc<Shared>,
    id: SandboxId,
}

impl Following {
    fn take(shared: &Arc<Shared>, id: &SandboxId) -> Option<Self> {
        let is_new = shared.followed.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone());
        is_new.then(|| Self { shared: Arc::clone(shared), id: id.clone() })
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.shared.followed.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
