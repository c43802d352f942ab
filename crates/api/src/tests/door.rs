//! The server behind its door, and a log of what was said through it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use sandscope_lifecycle::{Lifecycle, LifecycleOptions};
use sandscope_model::{
    ApiKey, ApiKeyId, Build, BuildId, Clock, Entropy, KeyMask, Prices, Rootfs, Team, TeamId, TeamLimits,
    Template, TemplateId, TemplateKind, keys,
};
use sandscope_store::{FaultPlan, NewApiKey, Store};
use sandscope_testbed::{FakeEngine, FarLives, SeededEntropy, StepClock};
use sandscope_wire::details::PressureMetrics;
use sandscope_wire::node::{
    CLUSTER_ID, MachineInfo, NodeExtra, NodeMetrics, NodeSandboxes, NodeUse, NodeView, ReconcilerView,
};
use serde_json::Value;
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::{ApiOptions, Hangup, Health, LiveMetrics, StreamOptions, router};

pub(super) const KEY: &str = "e2b_0000000000000000000000000000000000000001";
pub(super) const OTHER_KEY: &str = "e2b_0000000000000000000000000000000000000002";
/// How often a stream says that it is still there, by the clock of the test.
pub(super) const HEARTBEAT: Duration = Duration::from_millis(100);

pub(super) const ADMIN: &str = "the-operator-s-own-token";

pub(super) struct Door {
    pub(super) clock: StepClock,
    pub(super) store: Store,
    pub(super) faults: FaultPlan,
    pub(super) lifecycle: Lifecycle,
    pub(super) runtime: FakeEngine,
    pub(super) team: TeamId,
    pub(super) health: watch::Sender<Health>,
    pub(super) live: sandscope_sampler::Live,
    pub(super) tasks: sandscope_tasks::Tasks,
    router: Router,
    log: String,
    _dir: tempfile::TempDir,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Door {
    pub(super) async fn open() -> Self {
        Self::with_limits(TeamLimits {
            max_concurrent_sandboxes: 2,
            max_webhooks: 2,
            ..TeamLimits::default()
        })
        .await
    }

    pub(super) async fn with_limits(limits: TeamLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = StepClock::new();
        let faults = FaultPlan::none();
        let store = Store::open_with(dir.path(), Arc::new(clock.clone()), faults.clone()).unwrap();
        let seeded = |seed| -> Arc<dyn Entropy> { Arc::new(SeededEntropy::new(seed)) };
        let people = seeded(1);
        let teams = ["acme", "rival"].map(|slug| team(slug, limits, &*people, &clock));
        let first = teams[0].id;
        for (team, key) in teams.into_iter().zip([KEY, OTHER_KEY]) {
            let team_id = team.id;
            store.facts.create_team(team).await.unwrap();
            store.facts.insert_api_key(api_key(team_id, key, &*people, &clock)).await.unwrap();
        }
        for name in ["base", "code-interpreter-v1"] {
            let (template, build) = shipped(name, &*people, &clock);
            store.facts.ensure_template(template, build).await.unwrap();
        }
        let runtime = FakeEngine::new(Arc::new(clock.clone()));
        let tasks = sandscope_testbed::tasks(Arc::new(clock.clone()));
        let options = LifecycleOptions {
            engine: Arc::new(runtime.clone()),
            readings: Arc::new(runtime.clone()),
            door: Arc::new(runtime.clone()),
            facts: Arc::new(store.clone()),
            admissions: Arc::new(store.clone()),
            clock: Arc::new(clock.clone()),
            entropy: seeded(2),
            tasks: tasks.clone(),
            missing: sandscope_model::Cause::Vanished,
        };
        let lifecycle = Lifecycle::start(options).await.unwrap();
        let live = sandscope_sampler::Live::default();
        let (health, watched) = watch::channel(Health::Serving);
        let router = router(ApiOptions {
            lives: Arc::new(FarLives::new(Arc::new(lifecycle.clone()))),
            store: store.clone(),
            clock: Arc::new(clock.clone()),
            entropy: seeded(3),
            health: watched,
            webhook_tester: Arc::new(|_| Box::pin(async { None })),
            webhook_url_check: Arc::new(|url| {
                if url.contains("127.0.0.1") {
                    Err("loopback targets are not allowed".to_owned())
                } else {
                    Ok(())
                }
            }),
            domain: None,
            prices: Some(Prices {
                currency: "EUR".to_owned(),
                vcpu_hour: "0.05".parse().unwrap(),
                gib_hour: "0.016".parse().unwrap(),
            }),
            streams: StreamOptions {
                max_per_team: 3,
                heartbeat: HEARTBEAT,
                stall: Duration::from_millis(300),
            },
            live_metrics: LiveMetrics::new(live.clone()),
            alert_rules: sandscope_model::AlertRule::defaults(),
            node: Arc::new(node),
            admin_token: Some(sandscope_model::Secret::new(ADMIN.to_owned())),
            tasks: tasks.clone(),
        });
        Self {
            clock,
            store,
            faults,
            lifecycle,
            runtime,
            team: first,
            health,
            live,
            router,
            tasks,
            log: String::new(),
            _dir: dir,
        }
    }

    /// Waits, with the clock standing still, until somebody sleeps who wants to be woken after `time` at most.
    pub(super) async fn wait_for_a_sleep_within(&self, time: Duration) {
        let latest = self.clock.now() + jiff::SignedDuration::try_from(time).unwrap();
        while self.clock.next_due().is_none_or(|due| due > latest) {
            tokio::task::yield_now().await;
        }
    }

    /// Moves the clock on to the next heartbeat of streams, once there is one that waits for it.
    pub(super) async fn let_streams_beat(&self) {
        self.wait_for_a_sleep_within(HEARTBEAT).await;
        self.clock.advance(HEARTBEAT);
    }

    /// Sends a request as the first team and writes it, with its answer, into the log.
    pub(super) async fn say(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let answer = self.ask(Some(KEY), method, path, body).await;
        let text = match &answer.body {
            Value::Null => String::new(),
            body => format!("{body:#}\n"),
        };
        let _ = writeln!(self.log, "{method} {path} {body}\n{}\n{text}", answer.status);
        answer
    }

    /// Sends a request.
    pub(super) async fn ask(&self, key: Option<&str>, method: &str, path: &str, body: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = match key {
            Some(key) => request.header("x-api-key", key),
            None => request,
        };
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()))
        };
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// The answer with its body still to come.
    pub(super) async fn open_stream(&self, path: &str, hangup: Option<Hangup>) -> axum::response::Response {
        let mut request = Request::get(path).header("x-api-key", KEY).body(Body::empty()).unwrap();
        request.extensions_mut().extend(
            hangup
                .map(|hangup| {
                    let mut extensions = http::Extensions::new();
                    extensions.insert(hangup);
                    extensions
                })
                .unwrap_or_default(),
        );
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Serves on a socket of its own until the test ends.
    pub(super) async fn listen(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = self.router.clone();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    /// A new sandbox of the first team.
    pub(super) async fn sandbox(&self, body: &str) -> String {
        let answer = self.ask(Some(KEY), "POST", "/v2/sandboxes", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer.body["sandboxID"].as_str().unwrap().to_owned()
    }

    /// A new webhook of the first team.
    pub(super) async fn webhook(&self) -> String {
        let body = r#"{"name":"w","url":"https://example.com/h","events":["sandbox.lifecycle.killed"],
                       "signatureSecret":"0123456789abcdef0123456789abcdef"}"#;
        let answer = self.ask(Some(KEY), "POST", "/events/webhooks", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer.body["id"].as_str().unwrap().to_owned()
    }

    pub(super) fn take_log(&mut self) -> String {
        std::mem::take(&mut self.log)
    }
}

/// A machine on which nothing happens.
fn node() -> NodeView {
    let nothing = PressureMetrics { cpu: None, memory: None, io: None };
    NodeView {
        version: "1.2.3".to_owned(),
        commit: "unknown".to_owned(),
        id: "here".to_owned(),
        service_instance_id: "00000000-0000-4000-8000-000000000009".to_owned(),
        cluster_id: CLUSTER_ID.to_owned(),
        machine_info: MachineInfo::default(),
        status: "ready".to_owned(),
        status_changed_at: sandscope_model::Timestamp::UNIX_EPOCH,
        sandbox_count: 0,
        metrics: NodeMetrics {
            allocated_cpu: 0,
            cpu_percent: 0,
            cpu_count: 2,
            allocated_memory_bytes: 0,
            memory_used_bytes: 0,
            memory_total_bytes: 0,
            huge_pages_total: 0,
            huge_pages_used: 0,
            huge_pages_reserved: 0,
            huge_page_size_bytes: 0,
            disks: Vec::new(),
        },
        create_successes: 0,
        create_fails: 0,
        sandbox_starting_count: 0,
        sandscope: NodeExtra {
            sandboxes: NodeSandboxes::default(),
            used: NodeUse::default(),
            allocated_disk_bytes: 0,
            load: None,
            pressure: nothing,
            reconciler: ReconcilerView {
                rounds: 0,
                failed_rounds: 0,
                last_at: None,
                last_seconds: 0.0,
                open: 0,
                settled: 0,
                problems: Vec::new(),
            },
        },
    }
}

fn team(slug: &str, limits: TeamLimits, entropy: &dyn Entropy, clock: &StepClock) -> Team {
    let (name, slug) = (format!("Team {slug}"), slug.to_owned());
    Team { id: TeamId::generate(entropy), name, slug, limits, created_at: clock.now() }
}

fn api_key(team_id: TeamId, text: &str, entropy: &dyn Entropy, clock: &StepClock) -> NewApiKey {
    let mask = KeyMask {
        prefix: "e2b_".to_owned(),
        value_length: 40,
        masked_value_prefix: "00".to_owned(),
        masked_value_suffix: text.chars().skip(40).collect(),
    };
    let id = ApiKeyId::generate(entropy);
    let (name, created_at) = ("first".to_owned(), clock.now());
    let key = ApiKey { id, team_id, name, mask, created_at, last_used_at: None };
    NewApiKey { key, hash: keys::hash(text) }
}

fn shipped(name: &str, entropy: &dyn Entropy, clock: &StepClock) -> (Template, Build) {
    let template = Template {
        id: TemplateId::generate(entropy),
        team_id: None,
        name: Some(name.to_owned()),
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
