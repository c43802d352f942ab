//! Hearing one request.

use std::sync::Arc;
use std::time::Duration;

use sandscope_lives::{Connected, Snapshot, SnapshotName};
use sandscope_model::{
    Build, BuildId, Fact, KillReason, Rootfs, State, StateName, Template, TemplateId, TemplateKind, Update,
};
use sandscope_store::{NewSnapshot, Page, SnapshotFilter};

use super::held::Driver;
use crate::RequestError;
use crate::admission::Outcome;
use crate::request::{Envelope, Lease, Request};

/// The tag of a snapshot nobody named.
const DEFAULT_TAG: &str = "default";

impl Driver {
    pub(super) async fn serve(&mut self, Envelope { origin, request, .. }: Envelope) {
        let verdict = request.ask().judge(self.sandbox.state.name());
        match verdict {
            Outcome::Denied(state) => return request.refusal().send(RequestError::Denied { state }),
            Outcome::Gone => return request.refusal().send(RequestError::NotFound),
            Outcome::Accept | Outcome::Satisfied => {}
        }
        self.waiting = Some(request.refusal());
        self.origin = origin;
        match request {
            Request::Kill { reason, reply } => reply.send(self.kill(reason).await),
            Request::Pause { reply } => reply.send(self.pause().await),
            Request::Resume { lease, reply } => {
                let resumed = self.resume(lease).await;
                reply.send(resumed.map(|()| Arc::clone(&self.sandbox)));
            }
            Request::Wake { lease, reply } => {
                let awake = if verdict == Outcome::Satisfied { Ok(()) } else { self.resume(lease).await };
                reply.send(awake.map(|()| Arc::clone(&self.sandbox)));
            }
            Request::Connect { lease, reply } => reply.send(self.connect(lease).await),
            Request::CarryOn { otherwise, reply } => {
                let resumed = verdict != Outcome::Satisfied;
                let carried_on = if resumed { self.resume(self.left(otherwise)).await } else { Ok(()) };
                reply.send(carried_on.map(|()| Connected { sandbox: Arc::clone(&self.sandbox), resumed }));
            }
            Request::SetTimeout { timeout, reply } => reply.send(self.set_timeout(timeout, false).await),
            Request::Refresh { duration, reply } => reply.send(self.set_timeout(duration, true).await),
            Request::Checkpoint { name, reply } => reply.send(self.checkpoint(name).await),
        }
        self.waiting = None;
    }

    /// What was left of its time when it was paused; `otherwise`, if nothing was.
    fn left(&self, otherwise: Lease) -> Lease {
        let left_ms = match &self.sandbox.state {
            State::Paused { paused } => paused.left_ms.filter(|left_ms| *left_ms > 0),
            _ => None,
        };
        left_ms.map_or(otherwise, |left_ms| Lease { timeout: Duration::from_millis(left_ms), ..otherwise })
    }

    async fn connect(&mut self, lease: Lease) -> Result<Connected, RequestError> {
        let resumed = self.sandbox.state.name() == StateName::Paused;
        if resumed {
            self.resume(lease).await?;
        } else {
            self.set_timeout(lease.timeout, true).await?;
        }
        Ok(Connected { sandbox: Arc::clone(&self.sandbox), resumed })
    }

    /// Moves the end time. The change is published even if it is none: clients count on the event.
    async fn set_timeout(&mut self, timeout: Duration, extend_only: bool) -> Result<(), RequestError> {
        let now = self.context.clock.stamp();
        let asked = Self::end_of(now, timeout);
        let stays = extend_only && self.ends_at >= asked.0;
        let end = if stays { (self.ends_at, self.sandbox.end_label(now)) } else { asked };
        let moved = Fact::Updated(Update::TimeoutMoved { end_at: end.1 });
        let updated = self.next_in_state(moved, |sandbox| Self::end_at(sandbox, end, now));
        Ok(self.commit(&updated).await?)
    }

    /// Captures the writable layer and records the snapshot. If it cannot be recorded the layer is removed again.
    async fn checkpoint(&mut self, name: Option<SnapshotName>) -> Result<Snapshot, RequestError> {
        let build_id = BuildId::generate(&*self.context.entropy);
        if let Err(error) = self.context.engine.capture(&self.sandbox.id, build_id).await {
            self.remove_layer(build_id).await;
            self.bury_if_gone(&error, KillReason::Orphaned).await?;
            return Err(RequestError::Engine(error));
        }
        let recorded = self.record_snapshot(build_id, name).await;
        if recorded.is_err() {
            self.remove_layer(build_id).await;
        }
        recorded
    }

    async fn record_snapshot(
        &mut self,
        build_id: BuildId,
        name: Option<SnapshotName>,
    ) -> Result<Snapshot, RequestError> {
        let now = self.context.clock.now();
        let (name, tag) = match name {
            Some(SnapshotName { name, tag }) => (Some(name), tag),
            None => (None, DEFAULT_TAG.to_owned()),
        };
        // The store uses the team's template of that name instead, if it has one, also in the event.
        let template = Template {
            id: TemplateId::generate(&*self.context.entropy),
            team_id: Some(self.sandbox.team_id),
            name,
            kind: TemplateKind::Snapshot,
            created_at: now,
        };
        let spec = &self.sandbox.spec;
        let build = Build {
            id: build_id,
            template_id: template.id.clone(),
            rootfs: Rootfs::Snapshot(build_id),
            vcpu_count: spec.vcpu_count,
            memory_mb: spec.memory_mb,
            disk_mb: spec.disk_mb,
            source_sandbox_id: Some(self.sandbox.id.clone()),
            created_at: now,
        };
        let fact = Fact::Checkpointed { snapshot: template.id.clone() };
        let mut next = self.next_in_state(fact, |_| ());
        let snapshot = NewSnapshot { template, build, tag };
        next.snapshot = Some(snapshot.clone());
        self.commit(&next).await?;
        Ok(self.recorded(snapshot).await)
    }

    /// The snapshot as the store keeps it. It is safe already: where it cannot be read, it is reported as it was meant.
    async fn recorded(&self, meant: NewSnapshot) -> Snapshot {
        let filter = SnapshotFilter {
            source_sandbox_id: Some(self.sandbox.id.clone()),
            name: meant.template.name.clone(),
        };
        let newest = Page { after: None, limit: 16 };
        let stored = self.context.facts.snapshots(self.sandbox.team_id, filter, newest).await;
        let found =
            stored.ok().and_then(|all| all.into_iter().find(|(_, build, _)| build.id == meant.build.id));
        found.unwrap_or((meant.template, meant.build, meant.tag))
    }

    async fn remove_layer(&self, build_id: BuildId) {
        if let Err(error) = self.context.engine.remove_layer(build_id).await {
            tracing::error!(sandbox_id = %self.sandbox.id, %build_id, %error, "a captured layer remains");
        }
    }
}
