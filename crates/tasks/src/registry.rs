use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::crew::Crew;
use crate::drain::Step;
use crate::entry::Entry;
use crate::{Phase, Policy, Sleep, TaskStatus, Timer};

/// A task failed for good: the server has to end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the task {name} failed for good: it {why}")]
pub struct Failure {
    /// Which task.
    pub name: &'static str,
    /// Why, as the rest of a sentence that begins with "it".
    pub why: String,
}

/// The registry of tasks. Clones are handles to the same one.
#[derive(Clone)]
pub struct Tasks {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    timer: Box<dyn Timer>,
    entries: Mutex<BTreeMap<&'static str, Arc<Entry>>>,
    pub(crate) phases: BTreeMap<Phase, PhaseTasks>,
    pub(crate) failure: watch::Sender<Option<Failure>>,
}

/// What a phase stops and waits for.
#[derive(Default)]
pub(crate) struct PhaseTasks {
    pub(crate) stop: CancellationToken,
    pub(crate) tracker: TaskTracker,
    pub(crate) steps: Mutex<Vec<Step>>,
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").finish_non_exhaustive()
    }
}

impl Tasks {
    /// An empty registry.
    pub fn new(timer: impl Timer) -> Self {
        let shared = Shared {
            timer: Box::new(timer),
            entries: Mutex::default(),
            phases: Phase::ALL.into_iter().map(|phase| (phase, PhaseTasks::default())).collect(),
            failure: watch::Sender::new(None),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Cancelled when `phase` is drained.
    pub fn stopping(&self, phase: Phase) -> CancellationToken {
        self.shared.phases.get(&phase).map(|tasks| tasks.stop.clone()).unwrap_or_default()
    }

    /// A name for many tasks of one kind.
    pub fn crew(&self, name: &'static str, phase: Phase) -> Crew {
        Crew { entry: self.enter(name, phase, Policy::Crew), tasks: self.clone() }
    }

    /// Every task, by name.
    pub fn statuses(&self) -> Vec<TaskStatus> {
        self.entries().values().map(|entry| entry.status()).collect()
    }

    /// The tasks that do not do what they should: those that wait to start again, and those that failed for good.
    pub fn in_trouble(&self) -> Vec<&'static str> {
        let entries = self.entries();
        entries.values().filter(|entry| entry.status().state.is_trouble()).map(|entry| entry.name).collect()
    }

    /// The first task that failed for good, if one has.
    pub fn failure(&self) -> Option<Failure> {
        self.shared.failure.borrow().clone()
    }

    /// Completes once a task has failed for good.
    pub async fn failed(&self) -> Failure {
        let mut failure = self.shared.failure.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        match failure.wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone()) {
            Some(failure) => failure,
            None => std::future::pending().await,
        }
    }

    /// A second task of the same name takes the place of the first.
    pub(crate) fn enter(&self, name: &'static str, phase: Phase, policy: Policy) -> Arc<Entry> {
        let entry = Arc::new(Entry::new(name, phase, policy, self.now()));
        self.entries().insert(name, Arc::clone(&entry));
        entry
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.shared.timer.now()
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.shared.timer.uptime()
    }

    pub(crate) fn sleep(&self, duration: Duration) -> Sleep {
        self.shared.timer.sleep(duration)
    }

    /// The first failure stays.
    pub(crate) fn fail(&self, failure: Failure) {
        self.shared.failure.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(failure);
            is_first
        });
    }

    pub(crate) fn entries(&self) -> MutexGuard<'_, BTreeMap<&'static str, Arc<Entry>>> {
        self.shared.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
