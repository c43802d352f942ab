//! What the fixture is made of: fixed ids, a fixed clock, and values of every kind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use sandscope_model::{
    Actor, ApiKey, ApiKeyId, BootId, Build, BuildId, Clock, Component, Entropy, Execution, ExecutionSummary,
    Exit, KeyMask, NetworkConfig, OnTimeout, Origin, Rootfs, Sandbox, SandboxId, SandboxSpec, Secret, Sleep,
    State, Team, TeamId, TeamLimits, Template, TemplateId, TemplateKind, Timestamp, Uptime,
};
use sandscope_store::{NewApiKey, SEALING_KEY_BYTES, Sealer};
use uuid::Uuid;

/// The start of an hour; every time of the fixture is given in seconds from here.
pub(crate) const EPOCH_S: i64 = 1_764_000_000;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(EPOCH_S + seconds).unwrap()
}

/// A time that no second is a multiple of, as times of events are.
pub(crate) fn at_usec(seconds: i64, usec: i64) -> Timestamp {
    Timestamp::from_microsecond((EPOCH_S + seconds) * 1_000_000 + usec).unwrap()
}

/// An id that is the same in every run: `kind` keeps those of different things apart.
pub(crate) fn uuid<T: From<Uuid>>(kind: u8, n: u64) -> T {
    Uuid::from_u128(u128::from(kind) << 120 | 0x4000 << 64 | 0x8 << 60 | u128::from(n)).into()
}

pub(crate) fn sandbox_id(n: u64) -> SandboxId {
    format!("i{n:020}").parse().unwrap()
}

pub(crate) fn template_id(n: u64) -> TemplateId {
    format!("t{n:019}").parse().unwrap()
}

/// A clock that somebody sets.
#[derive(Debug)]
pub(crate) struct SetClock(AtomicI64);

impl SetClock {
    pub(crate) fn new(seconds: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(seconds)))
    }
}

impl Clock for SetClock {
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

/// Chance that is the same in every run.
#[derive(Debug, Default)]
pub(crate) struct Counting(AtomicU8);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0.fetch_add(1, Ordering::SeqCst));
    }
}

/// What seals the webhooks' secrets in every fixture.
pub(crate) fn sealer() -> Arc<Sealer> {
    Arc::new(Sealer::new(&[42; SEALING_KEY_BYTES], &[], Arc::new(Counting::default())).unwrap())
}

pub(crate) fn team(n: u64, slug: &str) -> Team {
    Team {
        id: uuid(1, n),
        name: format!("Team {slug}"),
        slug: slug.to_owned(),
        limits: TeamLimits { max_concurrent_sandboxes: 20, event_retention_days: 7, ..TeamLimits::default() },
        created_at: at(-9 * 86_400),
    }
}

pub(crate) fn key(team: &Team, n: u8, name: &str) -> NewApiKey {
    let key = ApiKey {
        id: uuid(2, n.into()),
        team_id: team.id,
        name: name.to_owned(),
        mask: KeyMask {
            prefix: "e2b_".to_owned(),
            value_length: 40,
            masked_value_prefix: "ab".to_owned(),
            masked_value_suffix: "yz".to_owned(),
        },
        created_at: at(i64::from(n)),
        last_used_at: None,
    };
    NewApiKey { key, hash: [n; 32] }
}

pub(crate) fn by_key(n: u8) -> Option<Origin> {
    let id: ApiKeyId = uuid(2, n.into());
    Some(Origin {
        actor: Actor::ApiKey { id, name: None },
        request_id: Some("req-1".into()),
        remote_address: Some([192, 0, 2, 7].into()),
    })
}

pub(crate) fn by_system(component: Component) -> Option<Origin> {
    Some(Origin::system(component))
}

pub(crate) fn template(team: Option<TeamId>, n: u64, name: Option<&str>, kind: TemplateKind) -> Template {
    let name = name.map(str::to_owned);
    Template { id: template_id(n), team_id: team, name, kind, created_at: at(i64::try_from(n).unwrap()) }
}

pub(crate) fn build(template: &Template, n: u64, source: Option<&SandboxId>) -> Build {
    let id: BuildId = uuid(3, n);
    let rootfs = if source.is_some() { Rootfs::Snapshot(id) } else { Rootfs::Host };
    Build {
        id,
        template_id: template.id.clone(),
        rootfs,
        vcpu_count: 2,
        memory_mb: 512,
        disk_mb: 1024,
        source_sandbox_id: source.cloned(),
        created_at: at(i64::try_from(n).unwrap()),
    }
}

pub(crate) fn execution(n: u64, seconds: i64) -> Execution {
    Execution {
        id: uuid(4, n),
        started_at: at_usec(seconds, 250_000),
        vcpu_count: 2,
        memory_mb: 512,
        span: None,
    }
}

/// A sandbox that is being created; `plain` ones have only what every sandbox has.
pub(crate) fn sandbox(team: &Team, n: u64, seconds: i64, plain: bool) -> Sandbox {
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let labels = [label("env", "prod"), label("user", "ada \"b\" ü")];
    let execution = execution(n * 10, seconds);
    Sandbox {
        id: sandbox_id(n),
        team_id: team.id,
        spec: SandboxSpec {
            template_id: template_id(1),
            build_id: uuid(3, 1),
            alias: Some("base".to_owned()),
            rootfs: Rootfs::Host,
            vcpu_count: 2,
            memory_mb: 512,
            disk_mb: 1024,
            metadata: if plain { BTreeMap::new() } else { BTreeMap::from(labels) },
            env_vars: if plain { BTreeMap::new() } else { BTreeMap::from([label("LANG", "C")]) },
            envd_access_token: (!plain).then(|| Secret::new("envd-token".to_owned())),
            traffic_access_token: (!plain).then(|| Secret::new("traffic-token".to_owned())),
            timeout_s: 300,
            on_timeout: if plain { OnTimeout::Kill } else { OnTimeout::Pause },
            auto_resume: !plain,
            allow_internet_access: (!plain).then_some(true),
            network: (!plain).then(|| NetworkConfig {
                allow_public_traffic: Some(false),
                allow_out: vec!["198.51.100.0/24".to_owned()],
                deny_out: vec!["0.0.0.0/0".to_owned()],
                mask_request_host: Some("localhost:${PORT}".to_owned()),
            }),
        },
        state: State::Creating { execution },
        intent_origin: by_key(1),
        generation: 0,
        created_at: at(seconds),
        started_at: at(seconds),
        end_at: at(seconds + 300),
    }
}

pub(crate) fn summary(execution: &Execution, seconds: i64) -> ExecutionSummary {
    ExecutionSummary::new(execution, at(seconds))
}

pub(crate) fn exit(status: sandscope_model::ExitStatus, cause: sandscope_model::Cause) -> Option<Exit> {
    Some(Exit {
        status: Some(status),
        cause: Some(cause),
        n_oom_kills: Some(3),
        peak_memory_bytes: Some(400 << 20),
        cpu_time_usec: Some(12_345_678),
    })
}
