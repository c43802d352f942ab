//! What every driver shares, and where drivers are found.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use sandscope_engine::{Dial, Engine, Readings};
use sandscope_model::{
    Cause, Clock, Entropy, EventDraft, EventId, Exit, Fact, Origin, Sandbox, SandboxId, StateName, TeamId,
    Timestamp,
};
use sandscope_store::{Admissions, NodeFacts};
use sandscope_tasks::{Crew, Tasks};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::counts::CreateStats;
use crate::request::Envelope;
use crate::slots::Slots;

/// What every driver shares.
pub(crate) struct Context {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) readings: Arc<dyn Readings>,
    pub(crate) door: Arc<dyn Dial>,
    pub(crate) facts: Arc<dyn NodeFacts>,
    /// Admits sandboxes: the decision is the control's, for places and keys are a team's, not a node's.
    pub(crate) admissions: Arc<dyn Admissions>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) slots: Slots,
    pub(crate) registry: Registry,
    /// Cancelled: no new requests; drivers finish what they are doing and stop.
    pub(crate) draining: CancellationToken,
    /// Cancelled: drivers stop trying to record what cannot be recorded. The next start finds out by recovery.
    pub(crate) abandoned: CancellationToken,
    /// What is under way and waited for when draining: drivers, creates, removals.
    pub(crate) tasks: TaskTracker,
    /// Under which name drivers that fail are seen.
    pub(crate) drivers: Crew,
    /// Where tasks that never end are started.
    pub(crate) watched: Tasks,
    /// Asks the reconciler to look now.
    pub(crate) nudge: Notify,
    /// Sandboxes to be checked now rather than with all others.
    pub(crate) suspects: Suspects,
    pub(crate) creates: CreateStats,
}

/// Sandboxes that something seems to be wrong with; each is in it once.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    ids: Mutex<HashSet<SandboxId>>,
    added: Notify,
}

impl Suspects {
    pub(crate) fn add(&self, id: &SandboxId) {
        self.lock().insert(id.clone());
        self.added.notify_one();
    }

    /// Completes when there are any. Also for whoever comes after one that failed before it took them.
    pub(crate) async fn added(&self) {
        while self.lock().is_empty() {
            self.added.notified().await;
        }
    }

    pub(crate) fn take(&self) -> Vec<SandboxId> {
        std::mem::take(&mut *self.lock()).into_iter().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<SandboxId>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Context {
    /// An event of `sandbox`, caused by `origin`, about to be committed together with its new state.
    pub(crate) fn draft(
        &self,
        sandbox: &Sandbox,
        origin: &Origin,
        fact: Fact,
        timestamp: Timestamp,
    ) -> EventDraft {
        let id = EventId::generate(&*self.entropy);
        EventDraft::of_sandbox(id, sandbox, Some(origin.clone()), fact, timestamp)
    }
}

/// The drivers of all live sandboxes.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    handles: RwLock<HashMap<SandboxId, Handle>>,
}

/// How to reach a sandbox's driver.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    pub(crate) requests: mpsc::Sender<Envelope>,
    /// The sandbox as last committed.
    pub(crate) view: watch::Receiver<Arc<Sandbox>>,
    /// Set once, when the engine says it ended.
    pub(crate) exit: watch::Sender<Option<Exit>>,
    /// How many of its processes the kernel has killed for lack of memory.
    pub(crate) oom: watch::Sender<u64>,
    /// Set when it is of no use any more although it lives.
    pub(crate) ailment: watch::Sender<Option<Cause>>,
}

impl Handle {
    pub(crate) fn sandbox(&self) -> Arc<Sandbox> {
        Arc::clone(&self.view.borrow())
    }
}

impl Registry {
    pub(crate) fn insert(&self, id: SandboxId, handle: Handle) {
        self.handles.write().unwrap_or_else(PoisonError::into_inner).insert(id, handle);
    }

    pub(crate) fn remove(&self, id: &SandboxId) {
        self.handles.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// The driver of a sandbox, also of one that no client knows yet.
    pub(crate) fn any(&self, id: &SandboxId) -> Option<Handle> {
        self.handles.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Every sandbox that has a driver, and the state it was last committed in.
    pub(crate) fn states(&self) -> Vec<(SandboxId, StateName)> {
        let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
        handles.iter().map(|(id, handle)| (id.clone(), handle.view.borrow().state.name())).collect()
    }

    /// The driver of a sandbox somebody may know about: of `team`, where one is given.
    pub(crate) fn known(&self, team: Option<TeamId>, id: &SandboxId) -> Option<Handle> {
        self.any(id).filter(|handle| {
            let sandbox = handle.view.borrow();
            sandbox.state.name() != StateName::Creating && team.is_none_or(|team| team == sandbox.team_id)
        })
    }

    /// The sandboxes somebody may know about.
    pub(crate) fn all_known(&self) -> Vec<Arc<Sandbox>> {
        let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
        let sandboxes = handles.values().map(Handle::sandbox);
        sandboxes.filter(|sandbox| sandbox.state.name() != StateName::Creating).collect()
    }
}
