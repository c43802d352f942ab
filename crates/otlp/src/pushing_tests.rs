//! Exports out of a real store to a collector on the loopback that takes, refuses, and is away; time runs as fast as
//! everybody falls asleep.

#[path = "pushing_hostile_tests.rs"]
mod hostile;
#[path = "pushing_poison_tests.rs"]
mod poison;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderMap;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics};
use sandscope_model::{
    Clock, Death, EventDraft, Execution, Fact, KillReason, LogEntry, LogLevel, LogSource, MetricField as F,
    Sample, Sandbox, Signal, Signals, State, Team, TeamLimits, Update, Values,
};
use sandscope_sampler::{Live, LivePoint, LiveRound};
use sandscope_store::{Change, LogBatch, Store};
use sandscope_tasks::Tasks;
use sandscope_testbed::{SeededEntropy, StepClock};
use tempfile::TempDir;

use crate::receiver::{Answer, Receiver, words};
use crate::{Collector, OtlpOptions, OtlpStats, Sandboxes, Target};

fn id<T: From<uuid::Uuid>>() -> T {
    static N: AtomicU64 = AtomicU64::new(1);
    uuid::Uuid::from_u128(u128::from(N.fetch_add(1, Ordering::SeqCst))).into()
}

/// A store with a team and a sandbox to which things happen.
struct World {
    _dir: TempDir,
    clock: StepClock,
    store: Store,
    sandbox: Sandbox,
    live: Live,
    stats: Arc<OtlpStats>,
    /// Set: whoever asks for the sandboxes next panics.
    is_poisoned: Arc<AtomicBool>,
}

impl World {
    async fn new() -> Self {
        let (dir, clock) = (TempDir::new().unwrap(), StepClock::new());
        let store = Store::open(dir.path(), Arc::new(clock.clone())).unwrap();
        let team = Team {
            id: id(),
            name: "team".to_owned(),
            slug: "team".to_owned(),
            limits: TeamLimits::default(),
            created_at: clock.now(),
        };
        store.facts.create_team(team.clone()).await.unwrap();
        let now = clock.now();
        let execution = Execution { id: id(), started_at: now, vcpu_count: 2, memory_mb: 512, span: None };
        let id = ("i00000000000000000001".parse().unwrap(), team.id, "00000000000000000000".parse().unwrap());
        let mut sandbox = Sandbox::example(id, State::Running { execution }, now);
        sandbox.spec.alias = Some("base".to_owned());
        store.facts.admit_sandbox(&sandbox, 100, None).await.unwrap();
        let (live, stats, is_poisoned) = Default::default();
        Self { _dir: dir, clock, store, sandbox, live, stats, is_poisoned }
    }

    async fn happens(&mut self, fact: Fact) -> String {
        let event = EventDraft::of_sandbox(id(), &self.sandbox, None, fact, self.clock.now());
        let change = Change { sandbox: self.sandbox.clone(), event: Some(event), snapshot: None };
        let committed = self.store.facts.commit(change).await.unwrap().unwrap();
        self.sandbox.generation += 1;
        committed.id.to_string()
    }

    /// The ids of `n` events.
    async fn happen(&mut self, n: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..n {
            let moved = Update::TimeoutMoved { end_at: self.clock.now() };
            ids.push(self.happens(Fact::Updated(moved)).await);
        }
        ids
    }

    async fn write(&self, messages: &[&str]) {
        let entry = |message: &&str| LogEntry {
            at: self.clock.now(),
            level: LogLevel::Warn,
            source: LogSource::Stderr,
            pid: Some(7),
            event_type: None,
            message: (*message).to_owned(),
        };
        let entries = messages.iter().map(entry).collect();
        let batch = LogBatch { sandbox_id: self.sandbox.id.clone(), entries, taken_upto: None };
        self.store.logs.append_logs(batch).await.unwrap();
    }

    async fn export(&self, url: &str, signals: &[Signal]) -> Tasks {
        self.export_within(Duration::from_secs(10), url, signals).await
    }

    async fn export_within(&self, timeout: Duration, url: &str, signals: &[Signal]) -> Tasks {
        self.export_with(timeout, Arc::new(self.clock.clone()), url, signals).await
    }

    async fn export_by(&self, clock: Arc<dyn Clock>, url: &str, signals: &[Signal]) -> Tasks {
        self.export_with(Duration::from_secs(10), clock, url, signals).await
    }

    async fn export_with(
        &self,
        timeout: Duration,
        clock: Arc<dyn Clock>,
        url: &str,
        signals: &[Signal],
    ) -> Tasks {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer key".parse().unwrap());
        let target = Target { endpoint: url.to_owned(), headers, ca_file: None, timeout, gzip: true };
        let (sandbox, is_poisoned) = (Arc::new(self.sandbox.clone()), Arc::clone(&self.is_poisoned));
        let sandboxes = move || {
            assert!(!is_poisoned.swap(false, Ordering::SeqCst), "planned, at the sandboxes");
            vec![Arc::clone(&sandbox)]
        };
        let options = OtlpOptions {
            events: self.store.events.clone(),
            logs: self.store.logs.clone(),
            facts: self.store.facts.clone(),
            clock,
            entropy: Arc::new(SeededEntropy::new(1)),
            live: self.live.clone(),
            sandboxes: Sandboxes::new(sandboxes),
            collector: Collector::new(target).unwrap(),
            signals: Signals(signals.to_vec()),
            interval: Duration::from_secs(15),
            n_sandboxes: 5,
            attributes: vec![("host.name".to_owned(), "here".to_owned())],
            stats: Arc::clone(&self.stats),
        };
        let tasks = sandscope_testbed::tasks(Arc::new(self.clock.clone()));
        crate::start(options, &tasks).await.unwrap();
        tasks
    }

    /// Lets time pass until what `until` waits for has come.
    async fn pass<T>(&self, until: impl Future<Output = T>) -> T {
        let clock = self.clock.clone();
        let passing = async move {
            loop {
                clock.wait_for_sleepers(1).await;
                if let Some(due) = clock.next_due() {
                    clock.advance_to(due);
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            done = until => done,
            () = passing => unreachable!("time does not end"),
        }
    }
}

fn value(attributes: &[KeyValue], key: &str) -> Option<Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.clone()?.value
}

fn text_of(attributes: &[KeyValue], key: &str) -> String {
    match value(attributes, key) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key} is {other:?}"),
    }
}

fn ids(records: &[LogRecord]) -> Vec<String> {
    records.iter().map(|record| text_of(&record.attributes, "sandscope.event.id")).collect()
}

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn events_arrive_as_otel_events_and_logs_as_logs() {
    let (mut world, receiver) = (World::new().await, Receiver::start().await);
    world.happen(1).await;
    let otlp = world.export(&receiver.url, &[Signal::Logs, Signal::Events]).await;
    world.sandbox.spec.metadata = [("user".to_owned(), "u1".to_owned())].into();
    let killed = world.happens(Fact::Killed(Death::of(KillReason::Oom))).await;
    world.write(&["out of\u{fc}ords"]).await;
    world.pass(receiver.until("both", |receiver| receiver.taken().len() == 2)).await;
    otlp.drain(LIMIT).await;
    let taken = receiver.taken();
    let event = taken.iter().find(|record| !record.event_name.is_empty()).unwrap();
    assert_eq!(event.event_name, "sandbox.lifecycle.killed");
    assert_eq!(event.severity_text, "ERROR");
    assert_eq!(event.time_unix_nano, 1_767_225_600_000_000_000);
    // The first, from before anybody wanted events, is not among them.
    assert_eq!(text_of(&event.attributes, "sandscope.event.id"), killed);
    assert_eq!(value(&event.attributes, "sandscope.event.sequence"), Some(Value::IntValue(2)));
    assert_eq!(text_of(&event.attributes, "sandscope.event.data.kill_reason"), "oom");
    assert_eq!(text_of(&event.attributes, "sandscope.event.data.sandbox_metadata.user"), "u1");
    let log = taken.iter().find(|record| record.event_name.is_empty()).unwrap();
    assert_eq!((words(log).as_str(), log.severity_text.as_str()), ("out of\u{fc}ords", "WARN"));
    assert_eq!(text_of(&log.attributes, "log.iostream"), "stderr");
    assert_eq!(value(&log.attributes, "process.pid"), Some(Value::IntValue(7)));
    for request in receiver.requests() {
        let resource = request.resource_logs[0].resource.clone().unwrap().attributes;
        assert_eq!(text_of(&resource, "service.name"), "sandscope");
        assert_eq!(text_of(&resource, "host.name"), "here");
        assert_eq!(text_of(&resource, "sandscope.sandbox.id"), world.sandbox.id.as_str());
        assert_eq!(text_of(&resource, "sandscope.team.id"), world.sandbox.team_id.to_string());
        assert_eq!(text_of(&resource, "sandscope.template.id"), "00000000000000000000");
    }
    let headers = &receiver.headers()[0];
    assert_eq!(
        (&headers["authorization"], &headers["content-encoding"]),
        (&"Bearer key".parse().unwrap(), &"gzip".parse().unwrap())
    );
    assert_eq!(world.stats.counts(Signal::Events).n_sent, 1);
    assert_eq!(world.stats.counts(Signal::Logs).n_sent, 1);
}

#[tokio::test]
async fn a_collector_that_is_away_gets_everything_once_it_is_back_in_order_and_once() {
    let (mut world, receiver) = (World::new().await, Receiver::start().await);
    receiver.then(|_| Answer::Refuse(503));
    let otlp = world.export(&receiver.url, &[Signal::Events]).await;
    let mut owed = world.happen(600).await;
    world.pass(receiver.until("failures", |receiver| receiver.n_asked() >= 5)).await;
    // Nothing waits for it: the server stops, and goes on where it was.
    otlp.drain(LIMIT).await;
    assert!(receiver.taken().is_empty());
    owed.extend(world.happen(10).await);
    receiver.be_well();
    let otlp = world.export(&receiver.url, &[Signal::Events]).await;
    world.pass(receiver.until("all", |receiver| receiver.taken().len() >= owed.len())).await;
    // What happens while it drains is still sent.
    owed.extend(world.happen(3).await);
    otlp.drain(LIMIT).await;
    assert_eq!(ids(&receiver.taken()), owed);
    let counts = world.stats.counts(Signal::Events);
    assert_eq!((counts.n_sent, counts.n_rejected, counts.n_dropped, counts.n_waiting), (613, 0, 0, 0));
    assert!(counts.n_failed >= 5);
}

#[tokio::test]
async fn a_record_the_collector_cannot_take_is_set_aside_and_holds_up_nobody() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    receiver
        .then(|said| if said.iter().any(|line| line == "bad") { Answer::Refuse(400) } else { Answer::Take });
    let otlp = world.export(&receiver.url, &[Signal::Logs]).await;
    world.write(&["a", "b", "c", "bad", "d", "e", "f", "g"]).await;
    world.pass(receiver.until("the good ones", |receiver| receiver.taken().len() == 7)).await;
    otlp.drain(LIMIT).await;
    let taken: Vec<String> = receiver.taken().iter().map(words).collect();
    assert_eq!(taken, ["a", "b", "c", "d", "e", "f", "g"]);
    let counts = world.stats.counts(Signal::Logs);
    assert_eq!((counts.n_sent, counts.n_rejected, counts.n_dropped), (7, 1, 0));
}

#[tokio::test]
async fn a_collector_that_refuses_everything_makes_nothing_lost() {
    let (mut world, receiver) = (World::new().await, Receiver::start().await);
    // Set up wrongly: it does not even take nothing.
    receiver.then(|_| Answer::Refuse(400));
    let otlp = world.export(&receiver.url, &[Signal::Events]).await;
    let owed = world.happen(4).await;
    world.pass(receiver.until("failures", |receiver| receiver.n_asked() >= 12)).await;
    receiver.be_well();
    world.pass(receiver.until("all", |receiver| receiver.taken().len() >= 4)).await;
    otlp.drain(LIMIT).await;
    assert_eq!(ids(&receiver.taken()), owed);
    assert_eq!(world.stats.counts(Signal::Events).n_rejected, 0);
}

#[tokio::test]
async fn a_collector_that_recovers_at_any_moment_makes_nothing_lost() {
    for n_refused in 1..12 {
        let (mut world, receiver) = (World::new().await, Receiver::start().await);
        let mut n_asked = 0;
        receiver.then(move |_| {
            n_asked += 1;
            if n_asked <= n_refused { Answer::Refuse(400) } else { Answer::Take }
        });
        let otlp = world.export(&receiver.url, &[Signal::Events]).await;
        let owed = world.happen(3).await;
        world.pass(receiver.until("all", |receiver| receiver.taken().len() >= 3)).await;
        otlp.drain(LIMIT).await;
        assert_eq!(ids(&receiver.taken()), owed, "well after {n_refused} requests");
        assert_eq!(world.stats.counts(Signal::Events).n_rejected, 0, "well after {n_refused} requests");
    }
}

#[tokio::test]
async fn a_partial_success_is_final_and_too_large_means_smaller() {
    let (mut world, receiver) = (World::new().await, Receiver::start().await);
    receiver.then(|said| match said.len() {
        0..=2 => Answer::TakeBut(1),
        _ => Answer::Refuse(413),
    });
    world.export(&receiver.url, &[Signal::Events]).await.drain(LIMIT).await;
    let owed = world.happen(8).await;
    let otlp = world.export(&receiver.url, &[Signal::Events]).await;
    world.pass(receiver.until("all", |receiver| receiver.taken().len() >= 8)).await;
    otlp.drain(LIMIT).await;
    assert_eq!(ids(&receiver.taken()), owed);
    let counts = world.stats.counts(Signal::Events);
    assert_eq!((counts.n_sent, counts.n_rejected), (4, 4));
}

#[tokio::test]
async fn a_collector_that_says_when_to_come_again_is_left_alone_until_then() {
    let (mut world, receiver) = (World::new().await, Receiver::start().await);
    let clock = world.clock.clone();
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let note = Arc::clone(&asked);
    receiver.then(move |_| {
        let mut asked = note.lock().unwrap();
        asked.push(clock.now().as_second());
        if asked.len() < 3 { Answer::ComeIn(429, "40") } else { Answer::Take }
    });
    let otlp = world.export(&receiver.url, &[Signal::Events]).await;
    world.happen(1).await;
    world.pass(receiver.until("taken", |receiver| receiver.taken().len() == 1)).await;
    otlp.drain(LIMIT).await;
    let asked = asked.lock().unwrap();
    assert_eq!((asked.len(), asked[1] - asked[0], asked[2] - asked[1]), (3, 40, 40));
}

fn by_name<'a>(of: &'a ResourceMetrics, name: &str) -> &'a Metric {
    let mut metrics = of.scope_metrics.iter().flat_map(|scope| &scope.metrics);
    metrics.find(|metric| metric.name == name).unwrap_or_else(|| panic!("no {name}"))
}

#[tokio::test]
async fn metrics_come_every_interval_with_units_and_whose_they_are() {
    use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let otlp = world.export(&receiver.url, &[Signal::Metrics]).await;
    world.clock.wait_for_sleepers(1).await;
    let at = world.clock.now() + Duration::from_secs(15);
    let sample = Sample {
        sandbox_id: world.sandbox.id.clone(),
        at,
        values: Values::NONE
            .with(F::CpuUsed, 2500)
            .with(F::CpuCount, 2)
            .with(F::MemUsed, 100)
            .with(F::MemTotal, 500)
            .with(F::MemCache, 30)
            .with(F::DiskUsed, 40)
            .with(F::DiskTotal, 50)
            .with(F::Processes, 3)
            .with(F::OomKills, 1),
    };
    let team_id = world.sandbox.team_id;
    let point = LivePoint { team_id, sample, totals: Values::NONE, pressures: None };
    world.live.publish(LiveRound { at, uptime: world.clock.stamp().uptime_of(at), points: vec![point] });
    world.pass(receiver.until("metrics", |receiver| receiver.metrics().len() >= 2)).await;
    otlp.drain(LIMIT).await;
    let metrics = receiver.metrics();
    let [server, sandbox] = &metrics[0].resource_metrics[..] else { panic!("{metrics:?}") };
    let Some(Data::Sum(count)) = &by_name(server, "sandscope.sandbox.count").data else { panic!() };
    assert_eq!((count.is_monotonic, count.data_points.len()), (false, 3));
    assert_eq!(count.data_points[0].value, Some(Number::AsInt(1)));
    assert_eq!(text_of(&count.data_points[0].attributes, "sandscope.template.name"), "base");
    let cpu = by_name(sandbox, "container.cpu.usage");
    let Some(Data::Gauge(gauge)) = &cpu.data else { panic!() };
    assert_eq!((cpu.unit.as_str(), gauge.data_points[0].value), ("{cpu}", Some(Number::AsDouble(0.5))));
    assert_eq!(i128::from(gauge.data_points[0].time_unix_nano), at.as_nanosecond());
    let Some(Data::Sum(kills)) = &by_name(sandbox, "sandscope.sandbox.oom_kills").data else { panic!() };
    assert_eq!((kills.is_monotonic, kills.aggregation_temporality), (true, 2));
    let resource = sandbox.resource.clone().unwrap().attributes;
    assert_eq!(text_of(&resource, "sandscope.sandbox.id"), world.sandbox.id.as_str());
    // The second measurement: nothing is new of the sandbox, so it is not reported again.
    assert_eq!(metrics[1].resource_metrics.len(), 1);
    assert!(world.stats.counts(Signal::Metrics).n_sent > 20);
}
