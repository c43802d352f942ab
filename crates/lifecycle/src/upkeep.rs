use std::sync::Arc;
use std::time::Duration;

use sandscope_model::SandboxId;
use sandscope_tasks::{Phase, Task};
use tokio::sync::watch;

use crate::health::{self, HealthPolicy};
use crate::lifecycle::Lifecycle;
use crate::reconcile::{self, Reconciled};

/// How sandboxes and host are looked after while the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upkeep {
    /// How agents are.
    pub health: HealthPolicy,
    /// How often store and host are compared.
    pub reconcile_every: Duration,
    /// For how long a disagreement must last before it is put right: what is under way disagrees for a moment.
    pub grace: Duration,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            health: HealthPolicy { interval: Duration::from_secs(30), patience: Duration::from_secs(30) },
            reconcile_every: Duration::from_secs(300),
            grace: Duration::from_secs(60),
        }
    }
}

impl Lifecycle {
    /// Looks after agents and host from now on, until the server stops. Returns what the reconciler says of itself.
    pub fn keep_up(&self, upkeep: Upkeep) -> watch::Receiver<Reconciled> {
        let (status, reconciled) = watch::channel(Reconciled::default());
        let (tasks, looking, comparing) = (&self.context.watched, self.context.clone(), self.context.clone());
        // What either has seen so far is seen again by its next life.
        tasks.start(Task::restart("agent-health", Phase::Change), move || {
            health::watch(Arc::clone(&looking), upkeep.health)
        });
        tasks.start(Task::restart("reconciler", Phase::Change), move || {
            reconcile::run(Arc::clone(&comparing), upkeep.reconcile_every, upkeep.grace, status.clone())
        });
        reconciled
    }

    /// Checks a sandbox now rather than with all others: somebody has reason to think that it is of no use any more.
    pub fn suspect(&self, id: &SandboxId) {
        self.context.suspects.add(id);
    }

    /// Lets the reconciler look now.
    pub fn nudge_reconciler(&self) {
        self.context.nudge.notify_one();
    }
}
