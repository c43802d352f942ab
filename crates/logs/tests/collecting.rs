//! The collector over a runtime whose agents are this test.

#![expect(clippy::unwrap_used, reason = "a test may stop at anything unexpected")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use sandscope_agent_protocol::logs::{Line, Lines, Source};
use sandscope_engine::Readings as _;
use sandscope_lifecycle::{Lifecycle, LifecycleOptions};
use sandscope_lives::CreateRequest;
use sandscope_logs::LogsOptions;
use sandscope_model::{
    Build, BuildId, Clock, KillReason, LogEntry, LogLevel, OnTimeout, Rootfs, Sandbox, SandboxId, Team,
    TeamLimits, Template, TemplateId, TemplateKind, Timestamp,
};
use sandscope_store::{LogQuery, Order, Store};
use sandscope_tasks::Tasks;
use sandscope_testbed::{FactsCall, FakeEngine, FarFacts, Loss, PoisonClock, SeededEntropy, StepClock};
use tokio::net::TcpListener;

/// How long a drain may take.
const LIMIT: Duration = Duration::from_secs(10);

/// What an agent is asked, and what it says: one answer after the other, then nothing but silence.
#[derive(Default)]
struct Script {
    asked: Vec<String>,
    answers: Vec<Response>,
}

struct World {
    store: Store,
    /// What the collector reaches it by.
    facts: FarFacts,
    clock: StepClock,
    runtime: FakeEngine,
    lifecycle: Lifecycle,
    team: Team,
    script: Arc<Mutex<Script>>,
    _data: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
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
        };
        let lifecycle = Lifecycle::start(options).await.unwrap();
        let facts = FarFacts::new(store.clone());
        Self { store, facts, clock, runtime, lifecycle, team, script, _data: data }
    }

    fn collect(&self) -> Tasks {
        self.collect_by(Arc::new(self.clock.clone()))
    }

    fn collect_by(&self, clock: Arc<dyn Clock>) -> Tasks {
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

    async fn sandbox(&self) -> Arc<Sandbox> {
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

    fn say(&self, answer: Response) {
        self.script.lock().unwrap().answers.push(answer);
    }

    fn asked(&self) -> Vec<String> {
        self.script.lock().unwrap().asked.clone()
    }

    async fn log(&self, id: &SandboxId) -> Vec<LogEntry> {
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

    async fn messages(&self, id: &SandboxId) -> Vec<String> {
        self.log(id).await.into_iter().map(|entry| entry.message).collect()
    }

    /// Lets time pass until `condition` holds.
    async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
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

fn lines(texts: &[(u64, &str)], upto: u64) -> Response {
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

#[tokio::test]
async fn lines_and_the_sandbox_s_story_are_one_log_and_a_restart_goes_on_where_it_was() {
    let world = World::new().await;
    let logs = world.collect();
    world.say(lines(&[(1, "one"), (2, "\u{1b}[31mtwo")], 2));
    world.say(lines(&[(5, "five")], 5));
    let sandbox = world.sandbox().await;
    world.until("three lines", async || world.messages(&sandbox.id).await.len() == 5).await;
    let mut told = world.messages(&sandbox.id).await;
    // Who is first is decided by the scheduler.
    told.retain(|message| message != "sandbox created");
    assert_eq!(told, ["one", "two", "2 lines dropped: written faster than they are kept", "five"]);
    world.until("it is asked for more", async || world.asked().len() == 3).await;
    logs.drain(LIMIT).await;

    let logs = world.collect();
    world.say(lines(&[(6, "six")], 6));
    world.until("the next line", async || world.messages(&sandbox.id).await.len() == 6).await;
    let waits = "wait=30 token: true";
    let asked = [0, 2, 5, 5].map(|after| format!("/logs?after={after}&{waits}"));
    assert_eq!(world.asked()[..4], asked);

    world.lifecycle.kill(world.team.id, &sandbox.id, KillReason::Request).await.unwrap();
    let last = async || world.messages(&sandbox.id).await.pop().unwrap();
    world.until("the end is told", async || last().await.starts_with("sandbox killed: request")).await;
    logs.drain(LIMIT).await;
}

#[tokio::test]
async fn an_agent_that_talks_nonsense_is_asked_less_and_less_and_then_believed_again() {
    let world = World::new().await;
    world.say(StatusCode::NOT_FOUND.into_response());
    world.say("not json".into_response());
    world.say(lines(&[(2, "twice"), (2, "twice")], 2));
    world.say(lines(&[(3, "beyond what is promised")], 2));
    world.say("x".repeat(2 << 20).into_response());
    let logs = world.collect();
    let sandbox = world.sandbox().await;
    let before = world.clock.next_due();
    world.until("five attempts", async || world.asked().len() == 5).await;
    let waited = world.clock.next_due().zip(before).map(|(now, before)| now.duration_since(before).as_secs());
    assert!(waited.is_some_and(|seconds| seconds >= 2 + 4 + 8 + 16), "{waited:?}");
    world.say(lines(&[(1, "sense")], 1));
    world.until("sense", async || world.messages(&sandbox.id).await.contains(&"sense".to_owned())).await;
    assert_eq!(world.messages(&sandbox.id).await.len(), 2);
    logs.drain(LIMIT).await;
}

#[tokio::test]
async fn a_paused_sandbox_is_left_alone_and_followed_again_once_resumed() {
    let world = World::new().await;
    let logs = world.collect();
    let sandbox = world.sandbox().await;
    world.until("it is followed", async || world.asked().len() == 1).await;
    world.lifecycle.pause(world.team.id, &sandbox.id).await.unwrap();
    let told = |message: &'static str| {
        let (world, id) = (&world, &sandbox.id);
        async move || world.messages(id).await.contains(&message.to_owned())
    };
    world.until("the pause is told", told("sandbox paused")).await;
    // To be followed must not wake it.
    assert_eq!(world.runtime.running(), []);
    world.lifecycle.resume(&world.team, &sandbox.id, Duration::from_secs(300)).await.unwrap();
    world.until("the resume is told", told("sandbox resumed")).await;
    logs.drain(LIMIT).await;
}

#[tokio::test]
async fn a_collector_that_fails_is_seen_and_starts_over() {
    let world = World::new().await;
    // What the collector sleeps for between two looks.
    let clock = PoisonClock::new(world.clock.clone(), Duration::from_millis(250));
    let logs = world.collect_by(Arc::new(clock.clone()));
    clock.poison(1);
    world.until("it has failed", async || logs.in_trouble() == ["log-collector"]).await;
    world.say(lines(&[(1, "found all the same")], 1));
    let sandbox = world.sandbox().await;
    let found = "found all the same".to_owned();
    world.until("it is followed", async || world.messages(&sandbox.id).await.contains(&found)).await;
    assert!(logs.in_trouble().is_empty());
    logs.drain(LIMIT).await;
}

#[tokio::test]
async fn a_line_that_the_store_refuses_is_tried_again_and_none_is_skipped() {
    for loss in [Loss::Question, Loss::Panic] {
        let world = World::new().await;
        let logs = world.collect();
        let sandbox = world.sandbox().await;
        let created = "sandbox created".to_owned();
        world.until("it is told", async || world.messages(&sandbox.id).await == [created.clone()]).await;
        world.facts.lose(FactsCall::AppendLogs, loss);
        world.lifecycle.pause(world.team.id, &sandbox.id).await.unwrap();
        world.lifecycle.resume(&world.team, &sandbox.id, Duration::from_secs(300)).await.unwrap();
        world.lifecycle.kill(world.team.id, &sandbox.id, KillReason::Request).await.unwrap();
        let last = async || world.messages(&sandbox.id).await.pop().unwrap();
        world.until("the end is told", async || last().await.starts_with("sandbox killed: request")).await;
        let mut told = world.messages(&sandbox.id).await;
        told.pop();
        // What was carried out before whoever asked for it panicked is there twice.
        told.dedup();
        assert_eq!(told, ["sandbox created", "sandbox paused", "sandbox resumed"], "{loss:?}");
        assert_eq!(world.facts.n_left(), 0);
        logs.drain(LIMIT).await;
    }
}

#[tokio::test]
async fn a_store_that_refuses_lines_does_not_keep_the_server_from_ending() {
    let world = World::new().await;
    let logs = world.collect();
    let sandbox = world.sandbox().await;
    let created = "sandbox created".to_owned();
    world.until("it is told", async || world.messages(&sandbox.id).await == [created.clone()]).await;
    for _ in 0..100 {
        world.facts.lose(FactsCall::AppendLogs, Loss::Question);
    }
    world.lifecycle.kill(world.team.id, &sandbox.id, KillReason::Request).await.unwrap();
    world.until("it was tried", async || world.facts.n_left() < 100).await;
    logs.drain(LIMIT).await;
    assert!(world.facts.n_left() > 0);
}
