//! A store, sandboxes whose agents are this test, and time that passes as a test lets it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use sandscope_agent_protocol::logs::{Line, Lines, Source};
use sandscope_lifecycle::{Lifecycle, LifecycleOptions};
use sandscope_lives::CreateRequest;
use sandscope_logs::LogsOptions;
use sandscope_model::{
    Build, BuildId, Clock, LogEntry, LogLevel, OnTimeout, Rootfs, Sandbox, SandboxId, Team, TeamLimits,
    Template, TemplateId, TemplateKind, Timestamp,
};
use sandscope_store::{LogQuery, Order, Store};
use sandscope_tasks::Tasks;
use sandscope_testbed::{FakeEngine, FarFacts, SeededEntropy, StepClock};
use tokio::net::TcpListener;

/// How long a drain may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// What an agent is asked, and what it says: one answer after the other, then nothing but silence.
#[derive(Default)]
pub(crate) struct Script {
    asked: Vec<String>,
    answers: Vec<Response>,
}

pub(crate) struct World {
    pub(crate) store: Store,
    /// What the collector reaches it by.
    pub(crate) facts: FarFacts,
    pub(crate) clock: StepClock,
    pub(crate) runtime: FakeEngine,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) team: Team,
    script: Arc<Mutex<Script>>,
    _data: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let clock = StepClock::new();
        let store = Store::open(data.path(), Arc::new(clock.clone())).unwrap();
        let team = Team {
            id: uuid::Uuid::from_u128(1).into(),
            name: "Team".into(),
            slug: "team".into(),
            limits: TeamLimits::default(),
            created_at: Timestamp::UNIX_EPOCH,
        };
        store.facts.create_team(team.clone()).await.unwrap();
        let id: TemplateId = "rki5dems9wqfm4r03t7g".parse().unwrap();
        let template = Template {
            id: id.clone(),
            team_id: None,
            name: Some("base".into()),
            kind: TemplateKind::Template,
            created_at: Timestamp::UNIX_EPOCH,
        };
        let build = Build {
            id: BuildId::from(uuid::Uuid::from_u128(2)),
            template_id: id,
            rootfs: Rootfs::Host,
            vcpu_count: 2,
            memory_mb: 512,
            disk_mb: 1024,
            source_sandbox_id: None,
            created_at: Timestamp::UNIX_EPOCH,
        };
        store.facts.ensure_template(template, build).await.unwrap();
        let runtime = FakeEngine::new(Arc::new(clock.clone()));
        let script = Arc::new(Mutex::new(Script::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        runtime.listen(None, 49983, listener.local_addr().unwrap());
        let router = Router::new().fallback(agent).with_state(Arc::clone(&script));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let options = LifecycleOptions {
            engine: Arc::new(runtime.clone()),
            readings: Arc::new(runtime.clone()),
            door: Arc::new(runtime.clone()),
            facts: Arc::new(store.clone()),
            admissions: Arc::new(store.clone()),
            clock: Arc::new(clock.clone()),
            entropy: Arc::new(SeededEntropy::new(7)),
            tasks: sandscope_testbed::tasks(Arc::new(clock.clone())),
            missing: sandscope_model::Cause::Vanished,
        };
        let lifecycle = Lifecycle::start(options).await.unwrap();
        let facts = FarFacts::new(store.clone());
        Self { store, facts, clock, runtime, lifecycle, team, script, _data: data }
    }

    pub(crate) fn collect(&self) -> Tasks {
        self.collect_by(Arc::new(self.clock.clone()))
    }

    pub(crate) fn collect_by(&self, clock: Arc<dyn Clock>) -> Tasks {
        let tasks = sandscope_testbed::tasks(Arc::new(self.clock.clone()));
        let options = LogsOptions {
            facts: Arc::new(self.facts.clone()),
            log: self.store.events.clone(),
            readings: Arc::new(self.runtime.clone()),
            door: Arc::new(self.runtime.clone()),
            clock,
        };
        sandscope_logs::start(options, &tasks);
        tasks
    }

    pub(crate) async fn sandbox(&self) -> Arc<Sandbox> {
        let request = CreateRequest {
            template: "base".into(),
            timeout: Duration::from_secs(24 * 3600),
            metadata: Default::default(),
            env_vars: Default::default(),
            secure: true,
            on_timeout: OnTimeout::Kill,
            auto_resume: true,
            allow_internet_access: None,
            network: None,
            idempotency: None,
        };
        self.lifecycle.create(&self.team, request).await.unwrap().sandbox
    }

    pub(crate) fn say(&self, answer: Response) {
        self.script.lock().unwrap().answers.push(answer);
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.script.lock().unwrap().asked.clone()
    }

    pub(crate) async fn log(&self, id: &SandboxId) -> Vec<LogEntry> {
        let query = LogQuery {
            sandbox_id: id.clone(),
            start: None,
            end: None,
            min_level: LogLevel::Debug,
            search: None,
            order: Order::Asc,
            limit: 1000,
        };
        self.store.logs.logs(query).await.unwrap()
    }

    pub(crate) async fn messages(&self, id: &SandboxId) -> Vec<String> {
        self.log(id).await.into_iter().map(|entry| entry.message).collect()
    }

    /// Lets time pass until `condition` holds.
    pub(crate) async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        for _ in 0..6_000 {
            if condition().await {
                return;
            }
            self.clock.advance(Duration::from_millis(50));
            // sleep: the pause between two looks
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("never came true: {what}");
    }
}

/// Waits, with every clock standing still, until `condition` holds.
pub(crate) async fn until_still(what: &str, condition: impl AsyncFn() -> bool) {
    for _ in 0..6_000 {
        if condition().await {
            return;
        }
        // sleep: the pause between two looks
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("never came true: {what}");
}

async fn agent(
    axum::extract::State(script): axum::extract::State<Arc<Mutex<Script>>>,
    request: Request,
) -> Response {
    let token = request.headers().get("x-access-token").is_some();
    let answer = {
        let mut script = script.lock().unwrap();
        script.asked.push(format!("{} token: {token}", request.uri()));
        (!script.answers.is_empty()).then(|| script.answers.remove(0))
    };
    match answer {
        Some(answer) => answer,
        None => std::future::pending().await,
    }
}

pub(crate) fn lines(texts: &[(u64, &str)], upto: u64) -> Response {
    let line = |(seq, text): &(u64, &str)| Line {
        seq: *seq,
        at: 0,
        pid: 5,
        source: Source::Stdout,
        text: (*text).to_owned(),
        cut: 0,
    };
    axum::Json(Lines { lines: texts.iter().map(line).collect(), upto }).into_response()
}
