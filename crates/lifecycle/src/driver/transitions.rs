//! The transitions: each records its intent, lets the engine act, and records what came of it. The `finish_*` half
//! starts from a recorded intent and is what recovery uses, too.

use std::sync::Arc;
use std::time::Duration;

use sandscope_engine::{EngineError, LaunchSpec};
use sandscope_model::{
    Cause, Component, Execution, ExecutionId, Exit, KillReason, Origin, Sandbox, Span, State, StateName,
    Transition, within,
};
use tokio::sync::oneshot;

use super::held::Driver;
use crate::cleanup::remove_remains;
use crate::recovery::Plan;
use crate::request::{Lease, Refusal};
use crate::{CreateError, RequestError};

/// How long the notice of an exit may come after the engine has said that the sandbox is gone.
const NOTICE_WAIT: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// Failed kills after which whoever waits gets an error. Trying goes on.
const KILLS_BEFORE_TELLING: u32 = 3;
const RESTORE_ATTEMPTS: u32 = 5;

impl Driver {
    /// Makes the sandbox. If that fails nothing of it remains and the driver is done.
    pub(super) async fn create(
        &mut self,
        launch: LaunchSpec,
        reply: oneshot::Sender<Result<Arc<Sandbox>, CreateError>>,
    ) {
        let timeout = Duration::try_from(self.sandbox.end_at.duration_since(self.sandbox.created_at))
            .unwrap_or_default();
        let error = match self.context.engine.create(&launch).await {
            Ok(()) => match self.record_created(timeout).await {
                Ok(()) => {
                    let _ = reply.send(Ok(Arc::clone(&self.sandbox)));
                    return;
                }
                Err(error) => error,
            },
            Err(error) => CreateError::Engine(error),
        };
        let _ = reply.send(Err(error));
        self.forget().await;
    }

    async fn record_created(&mut self, timeout: Duration) -> Result<(), CreateError> {
        let now = self.context.clock.stamp();
        let mut next = self.next(Transition::Created, now).map_err(|_| CreateError::Draining)?;
        // The time to start is not taken from the client's.
        Self::end_at(&mut next.sandbox, Self::end_of(now, timeout), now);
        self.commit(&next).await.map_err(CreateError::Store)
    }

    /// Removes a sandbox that no client knows, and its row.
    pub(super) async fn forget(&mut self) {
        if self.remove_traces().await.is_err() {
            return;
        }
        let mut delay = RETRY;
        while let Err(error) = self.context.facts.drop_sandbox(&self.sandbox.id).await {
            tracing::error!(sandbox_id = %self.sandbox.id, %error, "a row cannot be dropped; trying again");
            if let Some(waiting) = self.waiting.take() {
                waiting.send(RequestError::Store(error));
            }
            if self.back_off(delay).await.is_err() {
                return;
            }
            delay = (delay * 2).min(LONGEST_RETRY);
        }
        self.slot = None;
        self.context.registry.remove(&self.sandbox.id);
        self.over = true;
    }

    pub(super) async fn pause(&mut self) -> Result<(), RequestError> {
        let intent = self.next(Transition::PauseRequested, self.context.clock.stamp())?;
        self.commit(&intent).await?;
        self.finish_pause().await
    }

    pub(super) async fn finish_pause(&mut self) -> Result<(), RequestError> {
        match self.context.engine.pause(&self.sandbox.id).await {
            Ok(()) => {
                let now = self.context.clock.stamp();
                let mut next = self.next(Transition::Paused { at: now.at }, now)?;
                next.sandbox.end_at = now.at;
                if let State::Paused { paused } = &mut next.sandbox.state {
                    let left = self.ends_at.since(now.uptime).as_millis();
                    paused.left_ms = Some(u64::try_from(left).unwrap_or(u64::MAX));
                }
                self.settle(&next).await
            }
            Err(error) => {
                self.bury_if_gone(&error, KillReason::Orphaned).await?;
                tracing::warn!(sandbox_id = %self.sandbox.id, %error, "pause failed; it runs on");
                // Half of it may stand still.
                self.restore(StateName::Running).await?;
                let failed = self.next(Transition::PauseFailed, self.context.clock.stamp())?;
                self.settle(&failed).await?;
                Err(RequestError::Engine(error))
            }
        }
    }

    pub(super) async fn resume(&mut self, lease: Lease) -> Result<(), RequestError> {
        let taken = self.context.slots.take(self.sandbox.team_id, lease.max_concurrent);
        let slot = taken.ok_or(RequestError::LimitReached { limit: lease.max_concurrent })?;
        let now = self.context.clock.stamp();
        let end @ (due, _) = Self::end_of(now, lease.timeout);
        let execution = Execution {
            id: ExecutionId::generate(&*self.context.entropy),
            started_at: now.at,
            vcpu_count: self.sandbox.spec.vcpu_count,
            memory_mb: self.sandbox.spec.memory_mb,
            span: Some(Span { boot: now.boot, started: now.uptime, due }),
        };
        let mut intent = self.next(Transition::ResumeRequested { execution }, now)?;
        // Recorded with the intent: whoever finishes it must know for how long.
        Self::end_at(&mut intent.sandbox, end, now);
        self.commit(&intent).await?;
        self.slot = Some(slot);
        self.finish_resume().await
    }

    pub(super) async fn finish_resume(&mut self) -> Result<(), RequestError> {
        match self.context.engine.resume(&self.sandbox.id).await {
            Ok(()) => {
                let mut resumed = self.next(Transition::Resumed, self.context.clock.stamp())?;
                if let Some(execution) = resumed.sandbox.state.execution() {
                    resumed.sandbox.started_at = execution.started_at;
                }
                self.settle(&resumed).await
            }
            Err(error) => {
                self.bury_if_gone(&error, KillReason::ResumeFailed).await?;
                tracing::warn!(sandbox_id = %self.sandbox.id, %error, "resume failed; it stays paused");
                // Half of it may run.
                self.restore(StateName::Paused).await?;
                let mut failed = self.next(Transition::ResumeFailed, self.context.clock.stamp())?;
                if let State::Paused { paused } = &failed.sandbox.state {
                    failed.sandbox.end_at = paused.paused_at;
                }
                self.settle(&failed).await?;
                Err(RequestError::Engine(error))
            }
        }
    }

    pub(super) async fn kill(&mut self, reason: KillReason) -> Result<(), RequestError> {
        let intent =
            self.next(Transition::KillRequested { reason, cause: None }, self.context.clock.stamp())?;
        self.commit(&intent).await?;
        self.finish_kill().await
    }

    /// Kills until it is dead.
    pub(super) async fn finish_kill(&mut self) -> Result<(), RequestError> {
        let exit = self.remove_traces().await?;
        let now = self.context.clock.stamp();
        let ended = self.next_death(Transition::Ended { exit, at: now.at }, now).await?;
        self.settle(&ended).await
    }

    /// Asks the engine to kill it until that succeeds. Whoever waits gets an error after a few failures.
    async fn remove_traces(&mut self) -> Result<Option<Exit>, RequestError> {
        let mut n_failures = 0;
        let mut delay = RETRY;
        loop {
            let error = match self.context.engine.kill(&self.sandbox.id).await {
                Ok(exit) => return Ok(exit),
                Err(EngineError::NotFound) => return Ok(None),
                Err(error) => error,
            };
            tracing::error!(sandbox_id = %self.sandbox.id, %error, "kill failed; trying again");
            n_failures += 1;
            if n_failures == KILLS_BEFORE_TELLING
                && let Some(waiting) = self.waiting.take()
            {
                waiting.send(RequestError::Engine(error));
            }
            self.back_off(delay).await?;
            delay = (delay * 2).min(LONGEST_RETRY);
        }
    }

    /// The engine has said that the sandbox ended.
    pub(super) async fn bury_exited(&mut self) {
        let exit = self.exit.borrow().clone().unwrap_or_default();
        if let Err(error) = self.bury(seen_by(&exit), exit).await {
            tracing::error!(sandbox_id = %self.sandbox.id, %error, "a death could not be recorded");
            // Made from a row that has changed: the next attempt is made from the new one. Nothing else can be done
            // about a death that is not possible in the recorded state.
            self.over |= !matches!(error, RequestError::Busy);
        }
    }

    /// Records a death for the reason its cause stands for.
    async fn bury(&mut self, seen_by: Component, exit: Exit) -> Result<(), RequestError> {
        let cause = exit.cause.or(exit.plain_cause());
        let reason = cause.map_or(KillReason::Crashed, Cause::reason);
        self.bury_for(seen_by, reason, Exit { cause, ..exit }).await
    }

    /// Records a death, then removes what is left: in this order, because the traces are what the next start would
    /// learn the true exit from.
    async fn bury_for(
        &mut self,
        seen_by: Component,
        reason: KillReason,
        exit: Exit,
    ) -> Result<(), RequestError> {
        self.origin = Origin::system(seen_by);
        tracing::info!(sandbox_id = %self.sandbox.id, reason = reason.as_str(), ?exit, "sandbox died");
        let now = self.context.clock.stamp();
        let died = self.next_death(Transition::Died { reason, exit: Some(exit), at: now.at }, now).await?;
        self.settle(&died).await?;
        remove_remains(&self.context, &self.sandbox.id).await;
        Ok(())
    }

    /// An operation failed: if because the sandbox is gone, records its death and fails with `NotFound`.
    pub(super) async fn bury_if_gone(
        &mut self,
        error: &EngineError,
        unknown: KillReason,
    ) -> Result<(), RequestError> {
        if matches!(error, EngineError::NotFound) {
            // Its exit may be on its way. Where no notice comes, how it ended stays unknown.
            let noticed = self.exit.wait_for(Option::is_some);
            let _ = within(&*self.context.clock, NOTICE_WAIT, noticed).await;
        }
        let exit = self.exit.borrow().clone();
        match (error, exit) {
            (_, Some(exit)) => self.bury(seen_by(&exit), exit).await?,
            (EngineError::NotFound, None) => {
                self.bury_for(Component::Runtime, unknown, Exit::of_cause(Cause::Vanished)).await?;
            }
            _ => return Ok(()),
        }
        Err(RequestError::NotFound)
    }

    /// Takes over a sandbox that outlived the server, and says when that is done or cannot be recorded.
    pub(super) async fn recover(&mut self, plan: Plan, done: oneshot::Sender<Result<(), RequestError>>) {
        let done = Arc::new(std::sync::Mutex::new(Some(done)));
        let answer = move |result| {
            let done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            done.map(|done| done.send(result))
        };
        let early = answer.clone();
        self.waiting = Some(Refusal::new(move |error| {
            early(Err(error));
        }));
        tracing::info!(sandbox_id = %self.sandbox.id, state = %self.sandbox.state.name(), ?plan, "recovering");
        let result = match plan {
            Plan::Drive => Ok(()),
            Plan::Thaw => self.restore(StateName::Running).await,
            Plan::Freeze => self.restore(StateName::Paused).await,
            Plan::FinishPause => self.finish_pause().await,
            Plan::FinishResume => self.finish_resume().await,
            Plan::FinishKill => self.finish_kill().await,
            Plan::Bury { exit } => self.bury(Component::Recovery, exit).await,
            Plan::Forget => {
                self.forget().await;
                Ok(())
            }
        };
        self.waiting = None;
        let _ = match result {
            Err(error @ RequestError::Store(_)) => answer(Err(error)),
            // The sandbox is in a definite state again, if not in the one that was hoped for.
            Ok(()) | Err(_) => answer(Ok(())),
        };
    }

    /// Sees to it that all of the sandbox runs, or all of it stands still. One that can be brought to neither is of
    /// no use to anybody: after a few attempts it is ended, and this fails with `NotFound`.
    async fn restore(&mut self, wanted: StateName) -> Result<(), RequestError> {
        let mut delay = RETRY;
        for attempt in 1..=RESTORE_ATTEMPTS {
            let id = &self.sandbox.id;
            let engine = &self.context.engine;
            let restored =
                if wanted == StateName::Running { engine.resume(id).await } else { engine.pause(id).await };
            let Err(error) = restored else { return Ok(()) };
            self.bury_if_gone(&error, KillReason::Orphaned).await?;
            tracing::error!(sandbox_id = %self.sandbox.id, %error, attempt, %wanted, "cannot be brought there");
            self.back_off(delay).await?;
            delay *= 2;
        }
        self.origin = Origin::system(Component::Runtime);
        self.kill_for(Cause::Stuck).await?;
        Err(RequestError::NotFound)
    }
}

/// Who noticed: that nothing is left of one the engine never reported.
fn seen_by(exit: &Exit) -> Component {
    if exit.cause == Some(Cause::Vanished) { Component::Reconciler } else { Component::Runtime }
}
