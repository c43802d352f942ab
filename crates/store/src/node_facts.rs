//! What a node needs of the store: two narrow doors, so that a node can be a machine without a database.
//!
//! ```text
//!   lifecycle ─► NodeFacts   its rows, the changes it commits, templates, layers        ┐ on one machine: Store
//!   sampler ───► NodeFacts   samples                                                    │ later, on a node: whatever
//!   logs ──────► NodeFacts   lines                                                      ┘ carries them to the control
//!   lifecycle ─► Admissions  whether one more may be made: decided where all nodes are known
//! ```
//!
//! Every call may come again after its answer was lost: a repeated commit is a [`StoreError::Conflict`] that
//! [`NodeFacts::sandbox`] explains, by the generation; lines carry how far they go; a repeated sample is the same row.
//! "Live", "captured" and "elsewhere" are meant from where the caller is: rows of other nodes are not its own.

use async_trait::async_trait;
use sandscope_model::{
    Build, BuildId, Event, EventType, Sample, Sandbox, SandboxId, Team, TeamId, Template, TemplateId,
    Timestamp,
};

use crate::{
    Admission, Change, DeleteTemplate, IdempotencyKey, LogBatch, Page, SnapshotFilter, Store, StoreError,
};

/// What whoever drives, samples and reads the logs of a node's sandboxes asks of the facts.
///
/// Each method fails with a [`StoreError`] if the facts cannot be read or written.
#[async_trait]
pub trait NodeFacts: Send + Sync + 'static {
    /// Records a change and its event in one transaction; see [`Facts::commit`](crate::Facts::commit).
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the row is not at the generation that the change was made from.
    async fn commit(&self, change: Change) -> Result<Option<Event>, StoreError>;

    /// A sandbox in whatever state, of whichever node.
    ///
    /// # Errors
    /// If the facts cannot be read.
    async fn sandbox(&self, id: &SandboxId) -> Result<Option<Sandbox>, StoreError>;

    /// Every sandbox of this node that is not gone.
    ///
    /// # Errors
    /// If the facts cannot be read.
    async fn live_sandboxes(&self) -> Result<Vec<Sandbox>, StoreError>;

    /// Deletes the row of a sandbox that was never made.
    ///
    /// # Errors
    /// If the facts cannot be written.
    async fn drop_sandbox(&self, id: &SandboxId) -> Result<(), StoreError>;

    /// The sandbox's newest event of a type.
    ///
    /// # Errors
    /// If the facts cannot be read.
    async fn newest_event(
        &self,
        team: TeamId,
        id: &SandboxId,
        event_type: EventType,
    ) -> Result<Option<Event>, StoreError>;

    /// A team and its limits.
    ///
    /// # Errors
    /// If the facts cannot be read.
    async fn team(&self, id: TeamId) -> Result<Option<Team>, StoreError>;

    /// What a reference to a template means to the team.
    ///
    /// # Errors
    /// If the facts cannot be read.
    async fn resolve_template(
        &self,
        team: TeamId,
        reference: &str,
    ) -> Result<Option<(Template, Build)>, StoreError>;

    /// Deletes a template or snapshot of the team. Says which builds' layers may go too.
    ///
    /// # Errors
    /// If the facts cannot be written.
    async fn delete_template(&self, team: TeamId, reference: &str) -> Result<DeleteTemplate, StoreError>;

    /// The team's snapshots, newest first, one entry for each tag.
    ///
    /// # Errors
    /// If the facts cannot be read.
    async fn snapshots(
        &self,
        team: TeamId,
        filter: SnapshotFilter,
        page: Page<(Timestamp, TemplateId)>,
    ) -> Result<Vec<(Template, Build, String)>, StoreError>;

    /// Builds whose captured layers this node keeps.
    ///
    /// # Errors
    /// If the facts cannot be read.
    async fn captured_layers(&self) -> Result<Vec<BuildId>, StoreError>;

    /// Builds whose captured layers other nodes keep.
    ///
    /// # Errors
    /// If the facts cannot be read.
    async fn layers_elsewhere(&self) -> Result<Vec<BuildId>, StoreError>;

    /// Keeps samples.
    ///
    /// # Errors
    /// If they cannot be written; none is kept then.
    async fn insert_samples(&self, samples: Vec<Sample>) -> Result<(), StoreError>;

    /// A sandbox's newest `n` samples, oldest first.
    ///
    /// # Errors
    /// If the facts cannot be read.
    async fn newest_samples(&self, id: &SandboxId, n: u32) -> Result<Vec<Sample>, StoreError>;

    /// Keeps lines of a sandbox's log and how far they were taken, together.
    ///
    /// # Errors
    /// If they cannot be written; none is kept then.
    async fn append_logs(&self, batch: LogBatch) -> Result<(), StoreError>;

    /// How far a sandbox's lines were taken from its agent.
    ///
    /// # Errors
    /// If the facts cannot be read.
    async fn logs_taken_upto(&self, id: &SandboxId) -> Result<Option<u64>, StoreError>;
}

/// Decides whether one more sandbox may be made. Never a node's own decision: places and keys are the team's.
#[async_trait]
pub trait Admissions: Send + Sync + 'static {
    /// Stores a sandbox that is about to be made, unless the team has no place or the key has an answer; see
    /// [`Facts::admit_sandbox`](crate::Facts::admit_sandbox).
    ///
    /// # Errors
    /// If the facts cannot be written.
    async fn admit_sandbox(
        &self,
        sandbox: &Sandbox,
        max_concurrent: u32,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<Admission, StoreError>;
}

#[async_trait]
impl NodeFacts for Store {
    async fn commit(&self, change: Change) -> Result<Option<Event>, StoreError> {
        self.facts.commit(change).await
    }

    async fn sandbox(&self, id: &SandboxId) -> Result<Option<Sandbox>, StoreError> {
        self.facts.sandbox(id).await
    }

    async fn live_sandboxes(&self) -> Result<Vec<Sandbox>, StoreError> {
        self.facts.live_sandboxes().await
    }

    async fn drop_sandbox(&self, id: &SandboxId) -> Result<(), StoreError> {
        self.facts.drop_sandbox(id).await
    }

    async fn newest_event(
        &self,
        team: TeamId,
        id: &SandboxId,
        event_type: EventType,
    ) -> Result<Option<Event>, StoreError> {
        self.events.newest_event(team, id, event_type).await
    }

    async fn team(&self, id: TeamId) -> Result<Option<Team>, StoreError> {
        self.facts.team(id).await
    }

    async fn resolve_template(
        &self,
        team: TeamId,
        reference: &str,
    ) -> Result<Option<(Template, Build)>, StoreError> {
        self.facts.resolve_template(team, reference).await
    }

    async fn delete_template(&self, team: TeamId, reference: &str) -> Result<DeleteTemplate, StoreError> {
        self.facts.delete_template(team, reference).await
    }

    async fn snapshots(
        &self,
        team: TeamId,
        filter: SnapshotFilter,
        page: Page<(Timestamp, TemplateId)>,
    ) -> Result<Vec<(Template, Build, String)>, StoreError> {
        self.facts.snapshots(team, filter, page).await
    }

    async fn captured_layers(&self) -> Result<Vec<BuildId>, StoreError> {
        self.facts.captured_layers().await
    }

    async fn layers_elsewhere(&self) -> Result<Vec<BuildId>, StoreError> {
        self.facts.layers_elsewhere().await
    }

    async fn insert_samples(&self, samples: Vec<Sample>) -> Result<(), StoreError> {
        self.samples.insert_samples(samples).await
    }

    async fn newest_samples(&self, id: &SandboxId, n: u32) -> Result<Vec<Sample>, StoreError> {
        self.samples.newest_samples(id, n).await
    }

    async fn append_logs(&self, batch: LogBatch) -> Result<(), StoreError> {
        self.logs.append_logs(batch).await
    }

    async fn logs_taken_upto(&self, id: &SandboxId) -> Result<Option<u64>, StoreError> {
        self.logs.logs_taken_upto(id).await
    }
}

#[async_trait]
impl Admissions for Store {
    async fn admit_sandbox(
        &self,
        sandbox: &Sandbox,
        max_concurrent: u32,
        idempotency: Option<IdempotencyKey>,
    ) -> Result<Admission, StoreError> {
        self.facts.admit_sandbox(sandbox, max_concurrent, idempotency).await
    }
}
