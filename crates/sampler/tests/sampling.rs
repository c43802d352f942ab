//! The sampler over the real store and a runtime in memory, with the clock stepped by hand.

#![expect(clippy::unwrap_used, reason = "a test may give up")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sandscope_model::{
    AlertMetric, AlertRule, AlertSide, BuildId, Clock as _, EventType, Execution, ExecutionId, OnTimeout,
    Rootfs, Sample, Sandbox, SandboxId, SandboxSpec, State, Team, TeamId, TeamLimits, TemplateId, Timestamp,
};
use sandscope_runtime::{LaunchSpec, Runtime as _};
use sandscope_sampler::{AlertOptions, Live, Sampler, SamplerOptions, SamplerStats};
use sandscope_store::{SampleRetention, Store};
use sandscope_testbed::{FakeRuntime, SeededEntropy, StepClock};

const MB: u64 = 1 << 20;
const LOOK: Duration = Duration::from_millis(250);
/// The sampler's sleep and the retention's.
const ASLEEP: usize = 2;

struct House {
    _dir: tempfile::TempDir,
    entropy: SeededEntropy,
    clock: StepClock,
    store: Store,
    runtime: FakeRuntime,
    team: Team,
    sampler: Option<Sampler>,
    live: Option<Live>,
    stats: Arc<SamplerStats>,
    rules: Vec<AlertRule>,
}

impl House {
    async fn new() -> Self {
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
        store.create_team(team.clone()).await.unwrap();
        let runtime = FakeRuntime::new(Arc::new(clock.clone()));
        Self {
            _dir: dir,
            entropy,
            clock,
            store,
            runtime,
            team,
            sampler: None,
            live: None,
            stats: Arc::default(),
            rules: Vec::new(),
        }
    }

    async fn start(&mut self) {
        self.sampler = Some(Sampler::start(SamplerOptions {
            store: self.store.clone(),
            runtime: Arc::new(self.runtime.clone()),
            clock: Arc::new(self.clock.clone()),
            interval: Duration::from_secs(5),
            live: self.live.clone(),
            retention: SampleRetention::default(),
            stats: Arc::clone(&self.stats),
            alerts: self.alerts(),
        }));
        self.clock.wait_for_sleepers(ASLEEP).await;
    }

    fn alerts(&self) -> Option<AlertOptions> {
        let live = self.live.clone().filter(|_| !self.rules.is_empty())?;
        Some(AlertOptions {
            rules: self.rules.clone(),
            store: self.store.clone(),
            clock: Arc::new(self.clock.clone()),
            entropy: Arc::new(SeededEntropy::new(self.clock.now().as_millisecond().unsigned_abs())),
            live,
        })
    }

    /// Lets `n` seconds pass.
    async fn seconds(&self, n: u64) {
        self.pass(Duration::from_secs(n)).await;
        tokio::task::yield_now().await;
    }

    /// What was told about alerts: type and rule.
    async fn told(&self) -> Vec<(EventType, String)> {
        let events = self.store.events_after(self.team.id, 0, 100).await.unwrap();
        let alerts = events.iter().filter_map(|event| {
            event.data.alert.as_ref().map(|alert| (event.event_type, alert.rule.clone()))
        });
        alerts.collect()
    }

    /// Waits until that many were told.
    async fn wait_told(&self, n: usize) -> Vec<(EventType, String)> {
        let waiting = async {
            loop {
                let told = self.told().await;
                if told.len() >= n {
                    return told;
                }
                self.seconds(1).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap()
    }

    async fn sandbox(&self, vcpu_count: u32) -> SandboxId {
        let id = self.unstored(vcpu_count).await;
        self.store_row(&id, vcpu_count).await;
        id
    }

    /// On the host, but not in the store.
    async fn unstored(&self, vcpu_count: u32) -> SandboxId {
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

    async fn store_row(&self, id: &SandboxId, vcpu_count: u32) {
        let now = self.clock.now();
        let execution = Execution {
            id: ExecutionId::generate(&self.entropy),
            started_at: now,
            vcpu_count,
            memory_mb: 512,
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
        self.store.admit_sandbox(&sandbox, 100, None).await.unwrap();
    }

    /// Lets time pass in steps the sampler looks after each of.
    async fn pass(&self, time: Duration) {
        let end = self.clock.now().checked_add(time).unwrap();
        while self.clock.now() < end {
            let next = self.clock.now().checked_add(LOOK).unwrap();
            self.clock.set(next.min(end));
            self.clock.wait_for_sleepers(ASLEEP).await;
        }
    }

    async fn samples(&self, id: &SandboxId) -> Vec<Sample> {
        self.store.samples(id, None, None, None).await.unwrap()
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn offsets_ms(samples: &[Sample], start: Timestamp) -> Vec<i128> {
    samples.iter().map(|sample| sample.at.duration_since(start).as_millis()).collect()
}

#[tokio::test]
async fn a_new_sandbox_has_its_first_sample_within_two_seconds_and_then_one_every_five() {
    let mut house = House::new().await;
    house.start().await;
    let start = house.clock.now();
    house.pass(ms(100)).await;
    let id = house.sandbox(2).await;
    house.runtime.set_load(&id, 0.5);
    house.runtime.set_counters(&id, |counters| {
        counters.memory_current_bytes = 100 * MB;
        counters.memory_inactive_file_bytes = 30 * MB;
        counters.memory_file_bytes = 40 * MB;
        counters.disk_available_bytes = counters.disk_total_bytes - 10 * MB;
    });
    assert!(house.samples(&id).await.is_empty());
    house.pass(ms(1_900)).await;
    let first = house.samples(&id).await;
    assert_eq!(first.len(), 1, "one before two seconds are over");
    assert_eq!(
        first[0],
        Sample {
            sandbox_id: id.clone(),
            at: first[0].at,
            cpu_used_pct: 25.0,
            cpu_count: 2,
            mem_used_bytes: 70 * MB,
            mem_total_bytes: 512 * MB,
            mem_cache_bytes: 40 * MB,
            disk_used_bytes: 10 * MB,
            disk_total_bytes: 1024 * MB,
        }
    );
    house.pass(ms(14_000)).await;
    let offsets = offsets_ms(&house.samples(&id).await, start);
    assert_eq!(offsets[1..], [5_000, 10_000, 15_000]);
    house.sampler.take().unwrap().drain().await;
    assert_eq!(house.clock.n_sleepers(), 0, "nothing is left running");
}

#[tokio::test]
async fn a_paused_sandbox_has_no_samples_and_its_pause_is_in_none() {
    let mut house = House::new().await;
    house.start().await;
    let start = house.clock.now();
    let id = house.sandbox(1).await;
    house.runtime.set_load(&id, 1.0);
    house.pass(ms(6_000)).await;
    house.runtime.pause(&id).await.unwrap();
    house.pass(ms(12_000)).await;
    house.runtime.resume(&id).await.unwrap();
    house.pass(ms(4_000)).await;
    let samples = house.samples(&id).await;
    let offsets = offsets_ms(&samples, start);
    assert!(!offsets.iter().any(|offset| (6_001..=19_000).contains(offset)), "{offsets:?}");
    assert!(offsets.iter().any(|offset| *offset > 19_000), "{offsets:?}");
    assert!(samples.iter().all(|sample| sample.cpu_used_pct == 100.0), "{samples:?}");
}

#[tokio::test]
async fn a_sandbox_the_store_does_not_know_yet_is_sampled_once_it_does() {
    let mut house = House::new().await;
    house.start().await;
    let id = house.unstored(1).await;
    house.pass(ms(6_000)).await;
    assert!(house.samples(&id).await.is_empty());
    house.store_row(&id, 1).await;
    house.pass(ms(2_000)).await;
    assert_eq!(house.samples(&id).await.len(), 1);
}

#[tokio::test]
async fn what_was_paused_or_vanished_stops_nobody_elses_samples() {
    let mut house = House::new().await;
    house.start().await;
    let (gone, stays) = (house.sandbox(1).await, house.sandbox(1).await);
    house.pass(ms(2_000)).await;
    house.runtime.vanish(&gone);
    house.pass(ms(10_000)).await;
    assert_eq!(house.samples(&gone).await.len(), 1, "what was taken stays");
    assert_eq!(house.samples(&stays).await.len(), 3);
}

#[tokio::test]
async fn samples_are_kept_for_seven_days() {
    let mut house = House::new().await;
    let id = house.sandbox(1).await;
    let first = Sample {
        sandbox_id: id.clone(),
        at: house.clock.now(),
        cpu_used_pct: 1.0,
        cpu_count: 1,
        mem_used_bytes: 0,
        mem_total_bytes: 0,
        mem_cache_bytes: 0,
        disk_used_bytes: 0,
        disk_total_bytes: 0,
    };
    house.runtime.vanish(&id);
    house.store.insert_samples(vec![first]).await.unwrap();
    house.clock.advance(Duration::from_secs(7 * 24 * 3600));
    house.start().await;
    assert_eq!(house.samples(&id).await.len(), 1, "to the second");
    house.clock.advance(Duration::from_secs(3600));
    house.clock.wait_for_sleepers(ASLEEP).await;
    assert!(house.samples(&id).await.is_empty());
}

#[tokio::test]
async fn every_second_is_there_for_whoever_follows_and_ticks_alone_are_stored() {
    let mut house = House::new().await;
    let live = Live::default();
    house.live = Some(live.clone());
    let id = house.sandbox(2).await;
    let mut rounds = live.follow();
    house.start().await;
    house.runtime.set_load(&id, 1.0);
    let mut shares = Vec::new();
    while shares.len() < 12 {
        house.clock.advance(LOOK);
        house.clock.wait_for_sleepers(ASLEEP).await;
        while let Ok(round) = rounds.try_recv() {
            shares.extend(round.points.iter().map(|point| point.sample.cpu_used_pct));
        }
    }
    assert!(shares.iter().all(|pct| (*pct - 50.0).abs() < 0.1), "{shares:?}");
    assert_eq!(live.recent(&id, 100).len(), 12);
    let stored = house.store.samples(&id, None, None, None).await.unwrap().len();
    assert!((2..=4).contains(&stored), "{stored} of twelve seconds");
    let counts = house.stats.counts();
    assert_eq!((counts.n_stored, counts.n_live, counts.n_lost), (u64::try_from(stored).unwrap(), 12, 0));
}

fn busy() -> AlertRule {
    AlertRule {
        name: "busy".to_owned(),
        metric: AlertMetric::CpuPct,
        side: AlertSide::Above,
        threshold: 40.0,
        clear: 20.0,
        for_s: 3,
    }
}

#[tokio::test]
async fn an_alert_is_told_once_survives_a_restart_and_resolves() {
    let mut house = House::new().await;
    house.live = Some(Live::default());
    house.rules = vec![busy()];
    let id = house.sandbox(2).await;
    house.start().await;
    house.seconds(6).await;
    assert_eq!(house.told().await, []);
    house.runtime.set_load(&id, 1.0);
    let firing = (EventType::AlertFiring, "busy".to_owned());
    assert_eq!(house.wait_told(1).await, std::slice::from_ref(&firing));
    house.seconds(6).await;

    // Another server over the same store.
    house.sampler.take().unwrap().drain().await;
    house.live = Some(Live::default());
    house.start().await;
    house.seconds(8).await;
    assert_eq!(house.told().await, std::slice::from_ref(&firing), "told once, also after a restart");
    assert_eq!(house.store.firing_alerts(Some(house.team.id)).await.unwrap().len(), 1);
    house.runtime.set_load(&id, 0.0);
    assert_eq!(house.wait_told(2).await, [firing, (EventType::AlertResolved, "busy".to_owned())]);
    assert_eq!(house.store.firing_alerts(None).await.unwrap(), []);
}

#[tokio::test]
async fn an_alert_whose_rule_is_gone_resolves_at_the_next_start() {
    let mut house = House::new().await;
    house.live = Some(Live::default());
    house.rules = vec![busy()];
    let id = house.sandbox(2).await;
    house.runtime.set_load(&id, 2.0);
    house.start().await;
    house.wait_told(1).await;
    house.sampler.take().unwrap().drain().await;
    house.live = Some(Live::default());
    house.rules = vec![AlertRule { name: "other".to_owned(), threshold: 101.0, clear: 101.0, ..busy() }];
    house.start().await;
    let told = house.wait_told(2).await;
    assert_eq!(told[1], (EventType::AlertResolved, "busy".to_owned()));
}
