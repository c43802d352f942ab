//! A sampler over the real store and a runtime in memory, with the clock stepped by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sandscope_engine::{Engine as _, LaunchSpec};
use sandscope_model::{
    BuildId, Clock as _, Execution, ExecutionId, OnTimeout, Rootfs, Sample, Sandbox, SandboxId, SandboxSpec,
    State, Team, TeamId, TeamLimits, TemplateId,
};
use sandscope_sampler::{Live, SamplerOptions, SamplerStats};
use sandscope_store::Store;
use sandscope_tasks::Tasks;
use sandscope_testbed::{FakeEngine, SeededEntropy, StepClock};

pub(crate) const LOOK: Duration = Duration::from_millis(250);
/// The sampler's sleep.
pub(crate) const ASLEEP: usize = 1;

pub(crate) struct House {
    _dir: tempfile::TempDir,
    pub(crate) entropy: SeededEntropy,
    pub(crate) clock: StepClock,
    pub(crate) store: Store,
    pub(crate) runtime: FakeEngine,
    pub(crate) team: Team,
    /// What runs since the last start.
    pub(crate) tasks: Tasks,
    pub(crate) live: Option<Live>,
    pub(crate) stats: Arc<SamplerStats>,
}

impl House {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let entropy = SeededEntropy::new(7);
        let clock = StepClock::new();
        let store = Store::open(dir.path(), Arc::new(clock.clone())).unwrap();
        let team = Team {
            id: TeamId::generate(&entropy),
            name: "first".to_owned(),
            slug: "first".to_owned(),
            limits: TeamLimits::default(),
            created_at: clock.now(),
        };
        store.facts.create_team(team.clone()).await.unwrap();
        let runtime = FakeEngine::new(Arc::new(clock.clone()));
        let tasks = sandscope_testbed::tasks(Arc::new(clock.clone()));
        Self { _dir: dir, entropy, clock, store, runtime, team, tasks, live: None, stats: Arc::default() }
    }

    pub(crate) async fn start(&mut self) {
        let options = SamplerOptions {
            suspect: None,
            facts: Arc::new(self.store.clone()),
            readings: Arc::new(self.runtime.clone()),
            clock: Arc::new(self.clock.clone()),
            interval: Duration::from_secs(5),
            live: self.live.clone(),
            stats: Arc::clone(&self.stats),
        };
        self.tasks = sandscope_testbed::tasks(Arc::new(self.clock.clone()));
        sandscope_sampler::start(options, &self.tasks);
        self.clock.wait_for_sleepers(ASLEEP).await;
    }

    /// Ends what runs.
    pub(crate) async fn stop(&self) {
        self.tasks.drain(Duration::from_secs(10)).await;
    }

    pub(crate) async fn sandbox(&self, vcpu_count: u32) -> SandboxId {
        let id = self.unstored(vcpu_count).await;
        self.store_row(&id, vcpu_count).await;
        id
    }

    /// On the host, but not in the store.
    pub(crate) async fn unstored(&self, vcpu_count: u32) -> SandboxId {
        let spec = LaunchSpec {
            id: SandboxId::generate(&self.entropy),
            execution_id: ExecutionId::generate(&self.entropy),
            template_id: TemplateId::generate(&self.entropy),
            rootfs: Rootfs::Host,
            vcpu_count,
            memory_mb: 512,
            disk_mb: 1024,
            env_vars: BTreeMap::new(),
            access_token: None,
        };
        self.runtime.create(&spec).await.unwrap();
        spec.id
    }

    pub(crate) async fn store_row(&self, id: &SandboxId, vcpu_count: u32) {
        let now = self.clock.now();
        let execution = Execution {
            id: ExecutionId::generate(&self.entropy),
            started_at: now,
            vcpu_count,
            memory_mb: 512,
            span: None,
        };
        let spec = SandboxSpec {
            template_id: TemplateId::generate(&self.entropy),
            build_id: BuildId::generate(&self.entropy),
            alias: None,
            rootfs: Rootfs::Host,
            vcpu_count,
            memory_mb: 512,
            disk_mb: 1024,
            metadata: BTreeMap::new(),
            env_vars: BTreeMap::new(),
            envd_access_token: None,
            traffic_access_token: None,
            timeout_s: 300,
            on_timeout: OnTimeout::Kill,
            auto_resume: false,
            allow_internet_access: None,
            network: None,
        };
        let sandbox = Sandbox {
            id: id.clone(),
            team_id: self.team.id,
            spec,
            state: State::Creating { execution },
            intent_origin: None,
            generation: 0,
            created_at: now,
            started_at: now,
            end_at: now,
        };
        self.store.facts.admit_sandbox(&sandbox, 100, None).await.unwrap();
    }

    /// Lets time pass in steps the sampler looks after each of.
    pub(crate) async fn pass(&self, time: Duration) {
        let end = self.clock.now().checked_add(time).unwrap();
        while self.clock.now() < end {
            let next = self.clock.now().checked_add(LOOK).unwrap();
            self.clock.advance_to(next.min(end));
            self.clock.wait_for_sleepers(ASLEEP).await;
        }
    }

    pub(crate) async fn samples(&self, id: &SandboxId) -> Vec<Sample> {
        self.store.samples.samples(id, None, None, None).await.unwrap()
    }
}
