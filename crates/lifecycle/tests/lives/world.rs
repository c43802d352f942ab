//! One host with one server on it that can be killed and started again.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sandscope_lifecycle::{HealthPolicy, Lifecycle, LifecycleOptions, Reconciled, StartError, Upkeep};
use sandscope_lives::CreateRequest;
use sandscope_model::{
    Build, BuildId, Clock, Entropy, Event, EventType, Fact, OnTimeout, Rootfs, Sandbox, SandboxId, Team,
    TeamId, TeamLimits, Template, TemplateId, TemplateKind, Update,
};
use sandscope_store::{FaultPlan, Store};
use sandscope_tasks::Tasks;
use sandscope_testbed::{
    FakeEngine, FarFacts, Fault, SeededEntropy, StepClock, Trigger, check_invariants, whole_log,
};
use tokio::sync::watch;

/// The timeout sandboxes get unless a test says otherwise.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// How agents and host are looked after.
pub(crate) const UPKEEP: Upkeep = Upkeep {
    health: HealthPolicy { interval: Duration::from_secs(30), patience: Duration::from_secs(10) },
    reconcile_every: Duration::from_secs(60),
    grace: Duration::from_secs(20),
};

pub(crate) struct World {
    pub(crate) clock: StepClock,
    pub(crate) runtime: FakeEngine,
    pub(crate) team: Team,
    /// What goes wrong in the store during this life of the server.
    pub(crate) faults: FaultPlan,
    pub(crate) store: Store,
    /// What the lifecycle of this life reaches the store by.
    pub(crate) facts: FarFacts,
    pub(crate) lifecycle: Lifecycle,
    /// What the reconciler of this life has done.
    pub(crate) reconciled: watch::Receiver<Reconciled>,
    pub(crate) tasks: Tasks,
    pub(crate) entropy: Arc<SeededEntropy>,
    server: Option<tokio::runtime::Runtime>,
    dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_limit(100)
    }

    /// A server whose team may run `max_concurrent_sandboxes`.
    pub(crate) fn with_limit(max_concurrent_sandboxes: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = StepClock::new();
        let entropy = Arc::new(SeededEntropy::new(1));
        let runtime = FakeEngine::new(Arc::new(clock.clone()));
        let team = Team {
            id: TeamId::generate(&*entropy),
            name: "Team".into(),
            slug: "team".into(),
            limits: TeamLimits { max_concurrent_sandboxes, ..TeamLimits::default() },
            created_at: clock.now(),
        };
        let server = server();
        let faults = FaultPlan::none();
        let store = Store::open_with(dir.path(), Arc::new(clock.clone()), faults.clone()).unwrap();
        let facts = FarFacts::new(store.clone());
        let (lifecycle, reconciled, tasks) = server.block_on(async {
            store.facts.create_team(team.clone()).await.unwrap();
            let (template, build) = base(&*entropy, &clock);
            store.facts.ensure_template(template, build).await.unwrap();
            start(&runtime, &facts, &clock, &entropy).await.unwrap()
        });
        Self {
            clock,
            runtime,
            team,
            faults,
            store,
            facts,
            lifecycle,
            reconciled,
            tasks,
            entropy,
            server: Some(server),
            dir,
        }
    }

    /// Runs `future` to its end, letting the clock run on slowly whenever it is stuck, so that retries happen.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let clock = self.clock.clone();
        self.server().block_on(async move {
            tokio::pin!(future);
            for _ in 0..5_000 {
                match tokio::time::timeout(Duration::from_millis(2), &mut future).await {
                    Ok(output) => return output,
                    Err(_) => clock.advance(Duration::from_millis(20)),
                }
            }
            panic!("it never ends");
        })
    }

    /// Runs `future` with the clock standing still. Panics after ten real seconds.
    pub(crate) fn run_still<T>(&self, future: impl Future<Output = T>) -> T {
        self.server().block_on(async move {
            tokio::time::timeout(Duration::from_secs(10), future).await.expect("it never ends")
        })
    }

    /// Runs `future` until its end or until a planned fault stops the server dead. Returns whether it came to its
    /// end.
    pub(crate) fn run_until_halt<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let halted = self.runtime.clone();
        self.run(async move {
            tokio::select! {
                biased;
                output = future => Some(output),
                () = halted.wait_until("the server halts", FakeEngine::is_halted) => None,
            }
        })
    }

    /// The server is killed with -9 and started again.
    pub(crate) fn crash(&mut self) {
        self.stop();
        self.start().unwrap();
    }

    /// Kills the server.
    pub(crate) fn stop(&mut self) {
        // Dropping it drops every task wherever it happens to be.
        drop(self.server.take());
        // What had reached the store's writer is on disk or not, as after a kill; its threads must be gone.
        let closing = server();
        closing.block_on(self.store.close());
    }

    pub(crate) fn start(&mut self) -> Result<(), StartError> {
        self.start_with(FaultPlan::none())
    }

    pub(crate) fn start_with(&mut self, faults: FaultPlan) -> Result<(), StartError> {
        let server = server();
        self.runtime = self.runtime.next_life();
        self.faults = faults;
        self.store =
            Store::open_with(self.dir.path(), Arc::new(self.clock.clone()), self.faults.clone()).unwrap();
        self.facts = FarFacts::new(self.store.clone());
        self.server = Some(server);
        let starting = start(&self.runtime, &self.facts, &self.clock, &self.entropy);
        (self.lifecycle, self.reconciled, self.tasks) = self.run(starting)?;
        Ok(())
    }

    /// Starts the server; it meets `fault` at its first call of the runtime, if it makes one.
    pub(crate) fn start_halting(&mut self, fault: Fault) {
        let server = server();
        self.runtime = self.runtime.next_life();
        self.runtime.inject(Trigger::Nth(0), fault);
        self.store = Store::open(self.dir.path(), Arc::new(self.clock.clone())).unwrap();
        self.server = Some(server);
        let facts = FarFacts::new(self.store.clone());
        let (runtime, clock) = (self.runtime.clone(), self.clock.clone());
        let entropy = Arc::clone(&self.entropy);
        self.run_until_halt(async move { start(&runtime, &facts, &clock, &entropy).await.map(drop) });
    }

    fn server(&self) -> &tokio::runtime::Runtime {
        self.server.as_ref().expect("the server runs")
    }

    /// A sandbox that runs.
    pub(crate) fn create(&self) -> Arc<Sandbox> {
        self.create_with(|_| ())
    }

    pub(crate) fn create_with(&self, change: impl FnOnce(&mut CreateRequest)) -> Arc<Sandbox> {
        let mut request = request();
        change(&mut request);
        self.run_still(self.lifecycle.create(&self.team, request)).unwrap().sandbox
    }

    pub(crate) fn pause(&self, id: &SandboxId) {
        self.run_still(self.lifecycle.pause(self.team.id, id)).unwrap();
    }

    pub(crate) fn log(&self) -> Vec<Event> {
        self.run_still(whole_log(&self.store, self.team.id)).unwrap()
    }

    /// The types of all events of a sandbox.
    pub(crate) fn published(&self, id: &SandboxId) -> Vec<EventType> {
        self.log()
            .iter()
            .filter(|event| event.sandbox_id() == Some(id))
            .map(|event| event.event_type())
            .collect()
    }

    pub(crate) fn last_event(&self, id: &SandboxId) -> Event {
        self.log().into_iter().rfind(|event| event.sandbox_id() == Some(id)).expect("an event")
    }

    pub(crate) fn row(&self, id: &SandboxId) -> Option<Sandbox> {
        self.run_still(self.store.facts.sandbox(id)).unwrap()
    }

    /// Waits until everything is as it must be when nothing is under way.
    pub(crate) fn assert_settled(&self) {
        let mut wrong = Vec::new();
        for _ in 0..500 {
            match self.run_still(check_invariants(&self.store, &self.runtime, self.team.id)) {
                Ok(()) => return,
                Err(complaints) => wrong = complaints,
            }
            // Lets the drivers work and the clock run on a little.
            self.let_work();
            self.clock.advance(Duration::from_millis(20));
        }
        panic!("never settled: {wrong:#?}");
    }

    /// Waits, letting the clock run on slowly, until `condition` holds.
    pub(crate) fn wait(&self, what: &str, condition: impl AsyncFn() -> bool) {
        self.run(async {
            for _ in 0..20_000 {
                if condition().await {
                    return;
                }
                // sleep: the pause between two looks
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            panic!("never came true: {what}");
        });
    }

    /// Lets everything that is under way come to where only the clock or the test moves it on: turns of all tasks,
    /// with a trip to the store's writer behind each.
    pub(crate) fn let_work(&self) {
        self.run_still(async {
            for _ in 0..10 {
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                // Changes nothing, and waits its turn; a store that takes nothing says so.
                let _ = self.store.facts.delete_template(self.team.id, "no-such-template").await;
            }
        });
    }

    /// Waits, with the clock standing still, until `condition` holds.
    pub(crate) fn wait_still(&self, what: &str, condition: impl AsyncFn() -> bool) {
        self.run_still(async {
            for _ in 0..2_000 {
                if condition().await {
                    return;
                }
                // sleep: the pause between two looks
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            panic!("never came true: {what}");
        });
    }
}

fn server() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) async fn start(
    runtime: &FakeEngine,
    facts: &FarFacts,
    clock: &StepClock,
    entropy: &Arc<SeededEntropy>,
) -> Result<(Lifecycle, watch::Receiver<Reconciled>, Tasks), StartError> {
    let tasks = sandscope_testbed::tasks(Arc::new(clock.clone()));
    let options = LifecycleOptions {
        engine: Arc::new(runtime.clone()),
        readings: Arc::new(runtime.clone()),
        door: Arc::new(runtime.clone()),
        facts: Arc::new(facts.clone()),
        admissions: Arc::new(facts.clone()),
        clock: Arc::new(clock.clone()),
        entropy: Arc::clone(entropy) as Arc<dyn Entropy>,
        tasks: tasks.clone(),
        missing: sandscope_model::Cause::Vanished,
    };
    let lifecycle = Lifecycle::start(options).await?;
    let reconciled = lifecycle.keep_up(UPKEEP);
    Ok((lifecycle, reconciled, tasks))
}

fn base(entropy: &dyn Entropy, clock: &StepClock) -> (Template, Build) {
    let template = Template {
        id: TemplateId::generate(entropy),
        team_id: None,
        name: Some("base".into()),
        kind: TemplateKind::Template,
        created_at: clock.now(),
    };
    let build = Build {
        id: BuildId::generate(entropy),
        template_id: template.id.clone(),
        rootfs: Rootfs::Host,
        vcpu_count: 2,
        memory_mb: 512,
        disk_mb: 1024,
        source_sandbox_id: None,
        created_at: clock.now(),
    };
    (template, build)
}

pub(crate) fn request() -> CreateRequest {
    CreateRequest {
        template: "base".into(),
        timeout: LONG,
        metadata: BTreeMap::from([("purpose".into(), "test".into())]),
        env_vars: BTreeMap::new(),
        secure: true,
        on_timeout: OnTimeout::Kill,
        auto_resume: false,
        allow_internet_access: None,
        network: None,
        idempotency: None,
    }
}

/// The end time that an event reports.
pub(crate) fn moved_to(event: &Event) -> Option<sandscope_model::Timestamp> {
    match event.fact {
        Fact::Updated(Update::TimeoutMoved { end_at }) => Some(end_at),
        _ => None,
    }
}
