//! What the server may ask of the engine of namespaces.

use std::io;
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use sandscope_engine::{
    Ailment, DiskStanding, Engine, EngineError, EngineProfile, Found, LaunchSpec, Notice, Stray, Survey,
};
use sandscope_model::{BuildId, Exit, SandboxId};
use tokio::sync::mpsc;

use super::create::create;
use super::engine::NamespacesEngine;
use super::kill::kill;
use super::recover::recover;
use super::step::{blocking, in_task, step};
use super::{health, snapshot, survey};

#[async_trait]
impl Engine for NamespacesEngine {
    fn profile(&self) -> &EngineProfile {
        &self.profile
    }

    async fn create(&self, spec: &LaunchSpec) -> Result<(), EngineError> {
        // In a task of its own, so that a caller who goes away leaves no half-made sandbox.
        let (shared, spec) = (Arc::clone(&self.shared), spec.clone());
        in_task("make the sandbox", async move { create(&shared, &spec).await }).await
    }

    async fn pause(&self, id: &SandboxId) -> Result<(), EngineError> {
        let sandbox = self.shared.sandboxes.alive(id)?;
        blocking("freeze", move || sandbox.pause()).await
    }

    async fn resume(&self, id: &SandboxId) -> Result<(), EngineError> {
        let sandbox = self.shared.sandboxes.alive(id)?;
        blocking("thaw", move || sandbox.resume()).await
    }

    async fn capture(&self, id: &SandboxId, build: BuildId) -> Result<u64, EngineError> {
        let sandbox = self.shared.sandboxes.alive(id)?;
        let layout = &self.shared.layout;
        let (target, snapshots) = (layout.snapshot(build), layout.snapshots_dir());
        let room = Arc::clone(&self.shared.room);
        blocking("checkpoint", move || snapshot::capture(&sandbox, &room, &target, &snapshots)).await
    }

    async fn remove_layer(&self, build: BuildId) -> Result<(), EngineError> {
        match tokio::fs::remove_file(self.shared.layout.snapshot(build)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(step("delete the snapshot")(error)),
            _ => Ok(()),
        }
    }

    async fn kill(&self, id: &SandboxId) -> Result<Option<Exit>, EngineError> {
        let (shared, id) = (Arc::clone(&self.shared), id.clone());
        in_task("kill the sandbox", async move { kill(&shared, &id).await }).await
    }

    async fn recover(&self) -> Result<Vec<Found>, EngineError> {
        recover(&self.shared).await
    }

    fn take_notices(&self) -> Option<mpsc::Receiver<Notice>> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn check(&self, id: &SandboxId) -> Result<(), Ailment> {
        match self.shared.sandboxes.get(id) {
            Some(sandbox) => health::check(&self.shared.launcher, &sandbox).await,
            None => Ok(()),
        }
    }

    async fn survey(&self) -> Result<Survey, EngineError> {
        survey::survey(&self.shared).await
    }

    async fn remove(&self, stray: &Stray) -> Result<(), EngineError> {
        survey::remove_stray(&self.shared, stray).await
    }

    fn disk(&self) -> Option<DiskStanding> {
        Some(self.shared.room.disk())
    }

    async fn close(&self) {
        self.shutdown().await;
    }
}
