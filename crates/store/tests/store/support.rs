//! What every test of the store needs: a clock that stands still until told otherwise, and rows to store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use sandscope_model::{
    ApiKey, BootId, Build, Clock, EventDraft, EventType, Execution, KeyMask, OnTimeout, Rootfs, Sandbox,
    SandboxId, SandboxRef, SandboxSpec, Sleep, State, Team, TeamLimits, Template, TemplateKind, Timestamp,
    Uptime,
};
use sandscope_store::{Admission, Change, FaultPlan, NewApiKey, Store};
use tempfile::TempDir;
use uuid::Uuid;

/// Midnight of some day.
pub(crate) const EPOCH_S: i64 = 1_790_000_000;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(EPOCH_S + seconds).unwrap()
}

#[derive(Debug, Default)]
pub(crate) struct StepClock(AtomicI64);

impl StepClock {
    pub(crate) fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }
}

impl Clock for StepClock {
    fn wall(&self) -> Timestamp {
        at(self.0.load(Ordering::SeqCst))
    }

    fn uptime(&self) -> Uptime {
        Uptime::ZERO
    }

    fn boot(&self) -> BootId {
        BootId::from(uuid::Uuid::nil())
    }

    fn sleep_until(&self, _at: Uptime) -> Sleep {
        Box::pin(std::future::pending())
    }
}

/// A store in a directory of its own, with one team.
pub(crate) struct House {
    pub(crate) dir: TempDir,
    pub(crate) clock: Arc<StepClock>,
    pub(crate) faults: FaultPlan,
    pub(crate) store: Store,
    pub(crate) team: Team,
}

static N: AtomicU64 = AtomicU64::new(1);

fn next() -> u64 {
    N.fetch_add(1, Ordering::SeqCst)
}

pub(crate) fn uuid<T: From<Uuid>>() -> T {
    Uuid::from_u128(u128::from(next()) << 64 | u128::from(std::process::id())).into()
}

pub(crate) fn sandbox_id() -> SandboxId {
    format!("i{:010}{:010}", std::process::id(), next()).parse().unwrap()
}

impl House {
    pub(crate) async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let clock = Arc::new(StepClock::default());
        let faults = FaultPlan::none();
        let store = Store::open_with(dir.path(), clock.clone(), faults.clone()).unwrap();
        let team = team("first");
        store.facts.create_team(team.clone()).await.unwrap();
        Self { dir, clock, faults, store, team }
    }

    /// Another team of the same store.
    pub(crate) async fn other_team(&self, slug: &str) -> Team {
        let team = team(slug);
        assert!(self.store.facts.create_team(team.clone()).await.unwrap());
        team
    }

    pub(crate) fn creating(&self, seconds: i64) -> Sandbox {
        sandbox(&self.team, seconds)
    }

    /// A sandbox whose `created` event is committed; at generation 1.
    pub(crate) async fn running(&self, seconds: i64) -> Sandbox {
        let sandbox = self.creating(seconds);
        self.admit_and_run(sandbox).await
    }

    /// A running sandbox of which the log knows nothing; at generation 1.
    pub(crate) async fn admit_without_event(&self, seconds: i64) -> Sandbox {
        let mut sandbox = self.creating(seconds);
        self.store.facts.admit_sandbox(&sandbox, 1_000, None).await.unwrap();
        sandbox.state = State::Running { execution: execution(&sandbox) };
        self.store
            .facts
            .commit(Change { sandbox: sandbox.clone(), event: None, snapshot: None })
            .await
            .unwrap();
        sandbox.generation += 1;
        sandbox
    }

    pub(crate) async fn admit_and_run(&self, mut sandbox: Sandbox) -> Sandbox {
        let admission = self.store.facts.admit_sandbox(&sandbox, 1_000, None).await.unwrap();
        assert_eq!(admission, Admission::Admitted);
        sandbox.state = State::Running { execution: execution(&sandbox) };
        let event = Some(draft(&sandbox, EventType::Created, sandbox.started_at));
        self.store
            .facts
            .commit(Change { sandbox: sandbox.clone(), event, snapshot: None })
            .await
            .unwrap()
            .unwrap();
        sandbox.generation += 1;
        sandbox
    }

    /// Appends one `updated` event.
    pub(crate) async fn update(&self, sandbox: &mut Sandbox, seconds: i64) -> u64 {
        let event = Some(draft(sandbox, EventType::Updated, at(seconds)));
        let change = Change { sandbox: sandbox.clone(), event, snapshot: None };
        let event = self.store.facts.commit(change).await.unwrap().unwrap();
        sandbox.generation += 1;
        event.sequence
    }
}

pub(crate) fn team(slug: &str) -> Team {
    Team {
        id: uuid(),
        name: slug.to_owned(),
        slug: slug.to_owned(),
        limits: TeamLimits::default(),
        created_at: at(0),
    }
}

pub(crate) fn key(team: &Team, name: &str) -> NewApiKey {
    let mask = KeyMask {
        prefix: "e2b_".to_owned(),
        value_length: 40,
        masked_value_prefix: "ab".to_owned(),
        masked_value_suffix: "yz".to_owned(),
    };
    let mut hash = [7; 32];
    hash[..8].copy_from_slice(&next().to_le_bytes());
    let key = ApiKey {
        id: uuid(),
        team_id: team.id,
        name: name.to_owned(),
        mask,
        created_at: at(0),
        last_used_at: None,
    };
    NewApiKey { key, hash }
}

pub(crate) fn execution(sandbox: &Sandbox) -> Execution {
    Execution { id: uuid(), started_at: sandbox.started_at, vcpu_count: 2, memory_mb: 512, span: None }
}

pub(crate) fn sandbox(team: &Team, seconds: i64) -> Sandbox {
    let execution =
        Execution { id: uuid(), started_at: at(seconds), vcpu_count: 2, memory_mb: 512, span: None };
    Sandbox {
        id: sandbox_id(),
        team_id: team.id,
        spec: SandboxSpec {
            template_id: "base0000000000000000".parse().unwrap(),
            build_id: Uuid::from_u128(1).into(),
            alias: Some("base".to_owned()),
            rootfs: Rootfs::Host,
            vcpu_count: 2,
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
        },
        state: State::Creating { execution },
        intent_origin: None,
        generation: 0,
        created_at: at(seconds),
        started_at: at(seconds),
        end_at: at(seconds + 300),
    }
}

pub(crate) fn draft(sandbox: &Sandbox, event_type: EventType, timestamp: Timestamp) -> EventDraft {
    EventDraft::example(event_type, (uuid(), sandbox.team_id), SandboxRef::of(sandbox), timestamp)
}

pub(crate) fn template(team: Option<&Team>, name: Option<&str>, kind: TemplateKind) -> Template {
    Template {
        id: format!("t{:019}", next()).parse().unwrap(),
        team_id: team.map(|team| team.id),
        name: name.map(str::to_owned),
        kind,
        created_at: at(0),
    }
}

pub(crate) fn build(template: &Template, source: Option<&SandboxId>) -> Build {
    Build {
        id: uuid(),
        template_id: template.id.clone(),
        rootfs: Rootfs::Host,
        vcpu_count: 2,
        memory_mb: 512,
        disk_mb: 1024,
        source_sandbox_id: source.cloned(),
        created_at: at(0),
    }
}
