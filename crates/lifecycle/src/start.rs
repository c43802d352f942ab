//! Starting: what the host has and what the store knows are brought in line before anything is served.

use std::collections::HashMap;
use std::sync::Arc;

use sandscope_engine::{Dial, Engine, Found, FoundState, Notice, Readings};
use sandscope_model::{Cause, Clock, Component, Entropy, Origin};
use sandscope_store::{Admissions, NodeFacts};
use sandscope_tasks::{Phase, Tasks};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cleanup::remove_remains;
use crate::context::{Context, Registry, Suspects};
use crate::driver::{self, Begin};
use crate::lifecycle::Lifecycle;
use crate::recovery;
use crate::slots::Slots;
use crate::{RequestError, StartError};

/// What a lifecycle is made of.
pub struct LifecycleOptions {
    /// Makes the sandboxes.
    pub engine: Arc<dyn Engine>,
    /// Reads what they use.
    pub readings: Arc<dyn Readings>,
    /// Connects into them.
    pub door: Arc<dyn Dial>,
    /// Keeps the facts of this node's sandboxes.
    pub facts: Arc<dyn NodeFacts>,
    /// Decides whether one more sandbox may be made.
    pub admissions: Arc<dyn Admissions>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Draws ids and tokens: cryptographically strong.
    pub entropy: Arc<dyn Entropy>,
    /// Watches the tasks.
    pub tasks: Tasks,
    /// Why a sandbox is not on this host that was recorded as alive: [`Cause::Vanished`], unless the records came from
    /// another place.
    pub missing: Cause,
}

impl Lifecycle {
    /// Takes over every sandbox that outlived the last run of the server, finishes what was under way, records what
    /// died meanwhile and removes what nobody owns; then starts one driver for each live sandbox.
    ///
    /// # Errors
    /// If the host or the store cannot be read, or what was found cannot be recorded. Nothing is served then.
    pub async fn start(options: LifecycleOptions) -> Result<Self, StartError> {
        let LifecycleOptions { engine, readings, door, facts, admissions, clock, entropy, tasks, missing } =
            options;
        let notices = engine.take_notices().ok_or(StartError::NoticesTaken)?;
        let found = engine.recover().await.map_err(StartError::Engine)?;
        let context = Arc::new(Context {
            engine,
            readings,
            door,
            facts,
            admissions,
            clock,
            entropy,
            slots: Slots::default(),
            registry: Registry::default(),
            draining: tasks.stopping(Phase::Change),
            abandoned: CancellationToken::new(),
            tasks: TaskTracker::new(),
            drivers: tasks.crew("sandbox-drivers", Phase::Change),
            watched: tasks,
            nudge: Notify::new(),
            suspects: Suspects::default(),
            creates: crate::counts::CreateStats::default(),
        });
        let recovered = match take_over(&context, found, missing).await {
            Ok(pending) => {
                // Only now: an exit must find its driver. It cannot begin anew: the notice it fails at is lost, and only
                // a start finds out how that sandbox ended.
                let routing = route_notices(Arc::clone(&context), notices);
                context.watched.fatal("notices", Phase::Change, routing);
                settled(pending).await
            }
            Err(error) => Err(error),
        };
        if recovered.is_err() {
            context.draining.cancel();
            context.abandoned.cancel();
        }
        recovered?;
        Ok(Self { context, origin: Origin::system(Component::Server) })
    }
}

type Pending = Vec<oneshot::Receiver<Result<(), RequestError>>>;

/// Starts a driver for every sandbox the store says is live, each with what the table says it is owed, and removes
/// what nobody owns.
async fn take_over(context: &Arc<Context>, found: Vec<Found>, missing: Cause) -> Result<Pending, StartError> {
    let mut found: HashMap<_, FoundState> = found.into_iter().map(|found| (found.id, found.state)).collect();
    let mut pending = Vec::new();
    for sandbox in context.facts.live_sandboxes().await? {
        let state = sandbox.state.name();
        let plan = recovery::plan(state, found.remove(&sandbox.id).as_ref(), missing);
        let slot = context.slots.take_over(&sandbox);
        let (done, is_done) = oneshot::channel();
        driver::spawn(context, sandbox, slot, Begin::Recover { plan, done });
        pending.push(is_done);
    }
    for id in found.into_keys() {
        tracing::warn!(sandbox_id = %id, "removing a sandbox nobody owns");
        remove_remains(context, &id).await;
    }
    Ok(pending)
}

/// Waits until every sandbox is in a definite state that is recorded.
async fn settled(pending: Pending) -> Result<(), StartError> {
    for is_done in pending {
        match is_done.await {
            Ok(Ok(())) => {}
            Ok(Err(RequestError::Store(error))) => return Err(StartError::Store(error)),
            Ok(Err(RequestError::Engine(error))) => {
                // Its driver goes on trying; the others need not wait for it.
                tracing::error!(%error, "a sandbox is not settled yet");
            }
            Ok(Err(_)) | Err(_) => return Err(StartError::Interrupted),
        }
    }
    Ok(())
}

/// Hands the engine's notices to the drivers. Ends when the engine or the server does.
async fn route_notices(context: Arc<Context>, mut notices: mpsc::Receiver<Notice>) {
    loop {
        let notice = tokio::select! {
            biased;
            () = context.draining.cancelled() => return,
            notice = notices.recv() => notice,
        };
        let Some(notice) = notice else { return };
        let (Notice::Ended { id, .. } | Notice::OutOfMemory { id, .. }) = &notice;
        let Some(handle) = context.registry.any(id) else {
            // It was killed at the same moment: its driver has reported what there is to report.
            tracing::debug!(sandbox_id = %id, "word of a sandbox that is gone");
            continue;
        };
        match notice {
            Notice::Ended { exit, .. } => drop(handle.exit.send_replace(Some(exit))),
            Notice::OutOfMemory { n_oom_kills, .. } => drop(handle.oom.send_replace(n_oom_kills)),
        }
    }
}
