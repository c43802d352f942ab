//! Facts that are kept somewhere else: every call goes through, unless it is to be lost on the way.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use sandscope_model::{
    Build, BuildId, Event, EventType, Sample, Sandbox, SandboxId, Team, TeamId, Template, TemplateId,
    Timestamp,
};
use sandscope_store::{
    Admission, Admissions, Change, DeleteTemplate, IdempotencyKey, LogBatch, NodeFacts, Page, SnapshotFilter,
    Store, StoreError,
};

/// A call of [`NodeFacts`] or [`Admissions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the method of that name")]
pub enum FactsCall {
    Commit,
    Sandbox,
    LiveSandboxes,
    DropSandbox,
    NewestEvent,
    Team,
    ResolveTemplate,
    DeleteTemplate,
    Snapshots,
    CapturedLayers,
    LayersElsewhere,
    InsertSamples,
    NewestSamples,
    AppendLogs,
    LogsTakenUpto,
    AdmitSandbox,
}

/// What becomes of a call that does not go well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It never arrives.
    Question,
    /// It is carried out, and nobody hears of it.
    Answer,
    /// It is carried out, and whoever asked panics.
    Panic,
}

/// Passes every call on to a store, and loses those it is asked to. Clones share everything.
#[derive(Clone)]
pub struct FarFacts {
    store: Store,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Default)]
struct Plan {
    losses: Vec<(FactsCall, Loss)>,
    seen: Vec<FactsCall>,
}

impl FarFacts {
    /// Facts that `store` keeps.
    pub fn new(store: Store) -> Self {
        Self { store, plan: Arc::default() }
    }

    /// Loses one more such call.
    pub fn lose(&self, call: FactsCall, loss: Loss) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).losses.push((call, loss));
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<FactsCall> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).seen.clone()
    }

    /// Losses that no call has met yet.
    pub fn n_left(&self) -> usize {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).losses.len()
    }

    async fn pass<T>(
        &self,
        call: FactsCall,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let loss = {
            let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
            plan.seen.push(call);
            let met = plan.losses.iter().position(|(lost, _)| *lost == call);
            met.map(|index| plan.losses.remove(index).1)
        };
        match loss {
            None => asked.await,
            Some(Loss::Question) => Err(StoreError::Busy),
            Some(loss) => {
                asked.await?;
                assert!(loss != Loss::Panic, "planned, after {call:?}");
                Err(StoreError::Busy)
            }
        }
    }
}

#[async_trait]
impl NodeFacts for FarFacts {
    async fn commit(&self, change: Change) -> Result<Option<Event>, StoreError> {
        self.pass(FactsCall::Commit, self.store.facts.commit(change)).await
    }

    async fn sandbox(&self, id: &SandboxId) -> Result<Option<Sandbox>, StoreError> {
        self.pass(FactsCall::Sandbox, self.store.facts.sandbox(id)).await
    }

    async fn live_sandboxes(&self) -> Result<Vec<Sandbox>, StoreError> {
        self.pass(FactsCall::LiveSandboxes, self.store.facts.live_sandboxes()).await
    }

    async fn drop_sandbox(&self, id: &SandboxId) -> Result<(), StoreError> {
        self.pass(FactsCall::DropSandbox, self.store.facts.drop_sandbox(id)).await
    }

    async fn newest_event(
        &self,
        team: TeamId,
        id: &SandboxId,
        event_type: EventType,
    ) -> Result<Option<Event>, StoreError> {
        self.pass(FactsCall::NewestEvent, self.store.events.newest_event(team, id, event_type)).await
    }

    async fn team(&self, id: TeamId) -> Result<Option<Team>, StoreError> {
        self.pass(FactsCall::Team, self.store.facts.team(id)).await
    }

    async fn resolve_template(
        &self,
        team: TeamId,
        reference: &str,
    ) -> Result<Option<(Template, Build)>, StoreError> {
        self.pass(FactsCall::ResolveTemplate, self.store.facts.resolve_template(team, reference)).await
    }

    async fn delete_template(&self, team: TeamId, reference: &str) -> Result<DeleteTemplate, StoreError> {
        self.pass(FactsCall::DeleteTemplate, self.store.facts.delete_template(team, reference)).await
    }

    async fn snapshots(
        &self,
        team: TeamId,
        filter: SnapshotFilter,
        page: Page<(Timestamp, TemplateId)>,
    ) -> Result<Vec<(Template, Build, String)>, StoreError> {
        self.pass(FactsCall::Snapshots, self.store.facts.snapshots(team, filter, page)).await
    }

    async fn captured_layers(&self) -> Result<Vec<BuildId>, StoreError> {
        self.pass(FactsCall::CapturedLayers, self.store.facts.captured_layers()).await
    }

    async fn layers_elsewhere(&self) -> Result<Vec<BuildId>, StoreError> {
        self.pass(FactsCall::LayersElsewhere, self.store.facts.layers_elsewhere()).await
    }

    async fn insert_samples(&self, samples: Vec<Sample>) -> Result<(), StoreError> {
        self.pass(FactsCall::InsertSamples, self.store.samples.insert_samples(samples)).await
    }

    async fn newest_samples(&self, id: &SandboxId, n: u32) -> Result<Vec<Sample>, StoreError> {
        self.pass(FactsCall::NewestSamples, self.store.samples.newest_samples(id, n)).await
    }

    async fn append_logs(&self, batch: LogBatch) -> Result<(), StoreError> {
        self.pass(FactsCall::AppendLogs, self.store.logs.append_logs(batch)).await
    }

    async fn logs_taken_upto(&self, id: &SandboxId) -> Result<Option<u64>, StoreError> {
        self.pass(FactsCall::LogsTakenUpto, self.store.logs.logs_taken_upto(id)).await
    }
}

#[async_trait]
impl Admissions for FarFacts {
    async fn admit_sandbox(
        &self,
        sandbox: &Sandbox,
        max_concurrent: u32,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<Admission, StoreError> {
        let admitted = self.store.facts.admit_sandbox(sandbox, max_concurrent, idempotency);
        self.pass(FactsCall::AdmitSandbox, admitted).await
    }
}
