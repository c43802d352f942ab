use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::backoff::{Failures, Next};
use crate::entry::Entry;
use crate::registry::{Failure, Tasks};
use crate::{Phase, Policy, Task, TaskExit, TaskState, caught};

/// A task that was started. Dropping it changes nothing.
#[derive(Debug)]
pub struct Watched(JoinHandle<()>);

impl Watched {
    /// Waits until it has ended for good.
    pub async fn ended(&mut self) {
        // A supervisor does not panic; one that was aborted has ended.
        let _ = (&mut self.0).await;
    }

    /// Ends it where it is.
    pub fn abort(&self) {
        self.0.abort();
    }
}

/// What a life may end with: nothing, or why it failed.
pub trait Outcome {
    /// Why it failed, if it did.
    ///
    /// # Errors
    ///
    /// It failed.
    fn failure(self) -> Result<(), String>;
}

impl Outcome for () {
    fn failure(self) -> Result<(), String> {
        Ok(())
    }
}

impl Outcome for Result<(), String> {
    fn failure(self) -> Result<(), String> {
        self
    }
}

impl Tasks {
    /// Starts a task. `make` makes each of its lives: the first one now, another whenever one has failed. A life ends
    /// by itself only once it is stopped, or with the reason why it failed (as the rest of a sentence that begins with
    /// "it"). Must be called within a tokio runtime.
    pub fn start<F, L>(&self, task: Task, mut make: F) -> Watched
    where
        F: FnMut() -> L + Send + 'static,
        L: Future<Output: Outcome> + Send + 'static,
    {
        let Task { name, phase, backoff, stop } = task;
        self.supervise(name, phase, Policy::Restart(backoff), stop, move || {
            let life = make();
            async move { life.await.failure() }
        })
    }

    /// Starts a task that cannot begin anew from its middle: if it fails the server has to end. It ends by itself only
    /// once `phase` is drained. Must be called within a tokio runtime.
    pub fn fatal<L>(&self, name: &'static str, phase: Phase, life: L) -> Watched
    where
        L: Future<Output = ()> + Send + 'static,
    {
        self.watch(name, phase, async {
            life.await;
            Ok(())
        })
    }

    /// Watches what runs elsewhere, a thread for example: `ended` completes when that ends, with the reason if it
    /// failed (as the rest of a sentence that begins with "it"). It cannot be started again.
    pub fn watch<L>(&self, name: &'static str, phase: Phase, ended: L) -> Watched
    where
        L: Future<Output = Result<(), String>> + Send + 'static,
    {
        let mut ended = Some(ended);
        self.supervise(name, phase, Policy::Fatal, None, move || {
            let ended = ended.take();
            async move {
                match ended {
                    Some(ended) => ended.await,
                    None => Ok(()),
                }
            }
        })
    }

    fn supervise<F, L>(
        &self,
        name: &'static str,
        phase: Phase,
        policy: Policy,
        stop: Option<CancellationToken>,
        make: F,
    ) -> Watched
    where
        F: FnMut() -> L + Send + 'static,
        L: Future<Output = Result<(), String>> + Send + 'static,
    {
        let entry = self.enter(name, phase, policy);
        let stop = stop.unwrap_or_else(|| self.stopping(phase));
        let supervisor = Supervisor { tasks: self.clone(), entry: Arc::clone(&entry), stop };
        let run = supervisor.run(policy, make);
        let handle = match self.shared.phases.get(&phase) {
            Some(phase) => phase.tracker.spawn(run),
            None => tokio::spawn(run),
        };
        entry.aborted_by(handle.abort_handle());
        Watched(handle)
    }
}

struct Supervisor {
    tasks: Tasks,
    entry: Arc<Entry>,
    stop: CancellationToken,
}

impl Supervisor {
    async fn run<F, L>(self, policy: Policy, mut make: F)
    where
        F: FnMut() -> L,
        L: Future<Output = Result<(), String>>,
    {
        let mut failures = match policy {
            Policy::Restart(backoff) => Some(Failures::new(backoff)),
            Policy::Fatal | Policy::Crew => None,
        };
        loop {
            let why = match caught(async { make().await }).await {
                Ok(Ok(())) if self.stop.is_cancelled() => return self.ended(None),
                Ok(Ok(())) => "ended although nobody stopped it".to_owned(),
                Ok(Err(why)) => why,
                Err(panic) => panic.to_string(),
            };
            let (name, now) = (self.entry.name, self.tasks.now());
            if self.stop.is_cancelled() {
                tracing::error!(task = name, why, "a task failed while it was stopped");
                return self.ended(Some(why));
            }
            let exit = TaskExit { at: now, failure: Some(why.clone()) };
            let wait = match failures.as_mut().map(|failures| failures.add(self.tasks.uptime())) {
                Some(Next::Again(wait)) => wait,
                Some(Next::TooOften(n)) => {
                    return self
                        .failed(exit, format!("failed {n} times within a short time; at last it {why}"));
                }
                None => return self.failed(exit, why),
            };
            tracing::error!(
                task = name,
                why,
                wait_ms = wait.as_millis(),
                "a task that must not end has failed and starts again after a wait"
            );
            // Begun before it is seen: a test that steps a clock may count on it.
            let again = self.tasks.sleep(wait);
            self.entry.change(TaskState::Waiting, now, Some(exit));
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return self.ended(None),
                () = again => {}
            }
            self.entry.restarted(self.tasks.now());
        }
    }

    fn ended(&self, failure: Option<String>) {
        let now = self.tasks.now();
        let is_waiting = self.entry.status().state == TaskState::Waiting;
        // One that is stopped while it waits ended before.
        let exit = (!is_waiting).then_some(TaskExit { at: now, failure });
        self.entry.change(TaskState::Ended, now, exit);
    }

    fn failed(&self, exit: TaskExit, why: String) {
        let name = self.entry.name;
        tracing::error!(
            task = name,
            why,
            "a task that must not end has failed for good; the server has to end"
        );
        self.entry.change(TaskState::Failed, exit.at, Some(exit));
        self.tasks.fail(Failure { name, why });
    }
}
