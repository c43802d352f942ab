//! What a release writes into its fixture: something of everything that is stored.

use std::path::Path;

use sandscope_model::{
    Cause, Component, Death, EventDraft, EventType, ExitStatus, Fact, KillReason, LastAndMax, LogEntry,
    LogLevel, LogSource, MetricField as F, OomKills, Origin, Paused, Sample, SampleSummary, Sandbox, State,
    Team, TemplateKind, Update, Values,
};
use sandscope_store::{
    Admission, Change, FirstTeam, IdempotencyKey, LogBatch, NewSnapshot, Store, StoreOptions,
};

use crate::nouns::{
    SetClock, at, at_usec, build, by_key, by_system, execution, exit, key, sandbox, sealer, summary, team,
    template, uuid,
};

/// Writes a data directory and closes it.
pub(crate) async fn write(dir: &Path) {
    let options = StoreOptions { sealer: Some(sealer()), ..StoreOptions::default() };
    let store = Store::open_options(dir, SetClock::new(0), options).unwrap();
    let mut writer = Writer { store: store.clone(), team: team(1, "first"), n_events: 0 };
    writer.teams().await;
    writer.sandboxes().await;
    crate::notices::write(&mut writer).await;
    writer.logs().await;
    writer.samples().await;
    store.facts.delete_expired(at(7_200)).await.unwrap();
    assert!(store.events.sum_up_activity().await.unwrap() > 0);
    store.close().await;
}

/// What the `k`-th sample says: the first release's fields, and of those that came later all but for every seventh
/// sample, whose kernel did not answer.
fn numbers(k: u64) -> Values {
    let first = Values::NONE
        .with(F::CpuUsed, k * 791 % 10_001)
        .with(F::CpuCount, 2)
        .with(F::MemUsed, (40_000 + k * k % 977) * 4096)
        .with(F::MemTotal, 512 << 20)
        .with(F::MemCache, (9_000 + k / 7) * 4096)
        .with(F::DiskUsed, (2_000 + k / 20) * 4096)
        .with(F::DiskTotal, 1 << 30);
    let later = F::ALL.iter().filter(|field| field.entry().since != "0.1" && !k.is_multiple_of(7));
    later.fold(first, |values, field| values.with(*field, k * u64::from(field.id()) % 5_003))
}

pub(crate) struct Writer {
    pub(crate) store: Store,
    pub(crate) team: Team,
    n_events: u64,
}

impl Writer {
    pub(crate) fn draft(
        &mut self,
        sandbox: &Sandbox,
        seconds: i64,
        origin: Option<Origin>,
        fact: Fact,
    ) -> EventDraft {
        self.n_events += 1;
        EventDraft::of_sandbox(uuid(5, self.n_events), sandbox, origin, fact, at_usec(seconds, 250_123))
    }

    async fn change(&mut self, sandbox: &mut Sandbox, event: EventDraft, snapshot: Option<NewSnapshot>) {
        let change = Change { sandbox: sandbox.clone(), event: Some(event), snapshot };
        self.store.facts.commit(change).await.unwrap().unwrap();
        sandbox.generation += 1;
    }

    async fn admit(&self, sandbox: &Sandbox, key: Option<IdempotencyKey>) {
        assert_eq!(self.store.facts.admit_sandbox(sandbox, 100, key).await.unwrap(), Admission::Admitted);
    }

    async fn create(&mut self, sandbox: &mut Sandbox, seconds: i64) {
        self.admit(sandbox, None).await;
        let State::Creating { execution } = sandbox.state.clone() else { panic!("not being created") };
        sandbox.state = State::Running { execution };
        sandbox.intent_origin = None;
        let event = self.draft(sandbox, seconds, by_key(1), Fact::Created);
        self.change(sandbox, event, None).await;
    }

    async fn pause(&mut self, sandbox: &mut Sandbox, seconds: i64) {
        let ended = sandbox.state.execution().unwrap().clone();
        let paused = Paused { paused_at: at(seconds), last_execution_id: ended.id, left_ms: None };
        sandbox.state = State::Paused { paused };
        let origin = by_system(Component::Timeout);
        let paused = Fact::Paused { execution: summary(&ended, seconds) };
        let event = self.draft(sandbox, seconds, origin, paused);
        self.change(sandbox, event, None).await;
    }

    async fn kill(&mut self, sandbox: &mut Sandbox, seconds: i64, reason: KillReason, rich: bool) {
        let ended = sandbox.state.execution().unwrap().clone();
        let (status, cause) = match reason {
            KillReason::Oom => (ExitStatus::Signal(9), Cause::OutOfMemory),
            _ => (ExitStatus::Code(3), Cause::AgentExited),
        };
        let exit = if rich { exit(status, cause) } else { None };
        let last_samples = rich.then(|| SampleSummary {
            n_samples: 12,
            first_at: at(seconds - 60),
            last_at: at(seconds - 5),
            cpu_used_centi_pct: LastAndMax { last: 1_234, max: 9_900 },
            mem_used_bytes: LastAndMax { last: 100 << 20, max: 400 << 20 },
            disk_used_bytes: LastAndMax { last: 4096, max: 8192 },
        });
        let execution = Some(summary(&ended, seconds));
        let death = Death { reason, exit: exit.clone(), execution, last_samples };
        let event = self.draft(sandbox, seconds, by_system(Component::Runtime), Fact::Killed(death));
        sandbox.state = State::Killed { reason, exit, killed_at: at(seconds), last_execution_id: ended.id };
        self.change(sandbox, event, None).await;
    }

    async fn update(&mut self, sandbox: &mut Sandbox, seconds: i64) {
        sandbox.end_at = at(seconds + 600);
        let moved = Fact::Updated(Update::TimeoutMoved { end_at: sandbox.end_at });
        let event = self.draft(sandbox, seconds, by_key(2), moved);
        self.change(sandbox, event, None).await;
    }

    async fn teams(&self) {
        let (store, team) = (&self.store, &self.team);
        let made = store.facts.ensure_first_team(team.clone(), key(team, 1, "laptop")).await.unwrap();
        assert!(matches!(made, FirstTeam::Created(_)));
        store.facts.insert_api_key(key(team, 2, "ci")).await.unwrap();
        let other = crate::nouns::team(2, "other");
        assert!(store.facts.create_team(other.clone()).await.unwrap());
        store.facts.insert_api_key(key(&other, 3, "theirs")).await.unwrap();
        let base = template(None, 1, Some("base"), TemplateKind::Template);
        store.facts.ensure_template(base.clone(), build(&base, 1, None)).await.unwrap();
    }

    /// Long gone: what retention cuts off. Then killed on request, paused, running (resumed, out of memory once),
    /// dead of lack of memory, still being created, and one of the other team.
    async fn sandboxes(&mut self) {
        let team = self.team.clone();
        let mut old = sandbox(&team, 9, -9 * 86_400, true);
        self.create(&mut old, -9 * 86_400).await;
        self.kill(&mut old, -9 * 86_400 + 50, KillReason::Timeout, false).await;

        let mut killed = sandbox(&team, 1, 0, false);
        self.create(&mut killed, 0).await;
        self.update(&mut killed, 20).await;
        let taken = template(Some(team.id), 2, Some("mine"), TemplateKind::Snapshot);
        let fact = Fact::Checkpointed { snapshot: taken.id.clone() };
        let event = self.draft(&killed, 30, by_key(1), fact);
        let build = build(&taken, 2, Some(&killed.id));
        let snapshot = NewSnapshot { template: taken, build, tag: "default".to_owned() };
        self.change(&mut killed, event, Some(snapshot)).await;
        self.kill(&mut killed, 100, KillReason::Request, true).await;

        let mut paused = sandbox(&team, 2, 10, false);
        self.create(&mut paused, 10).await;
        self.pause(&mut paused, 200).await;

        let mut running = sandbox(&team, 3, 20, false);
        self.create(&mut running, 20).await;
        self.pause(&mut running, 300).await;
        running.state = State::Running { execution: execution(31, 400) };
        running.started_at = at(400);
        let event = self.draft(&running, 400, by_system(Component::Traffic), Fact::Resumed);
        self.change(&mut running, event, None).await;
        let kills = Fact::OutOfMemory(OomKills { n_new: 2, n_total: 5 });
        let event = self.draft(&running, 450, by_system(Component::Runtime), kills);
        self.change(&mut running, event, None).await;
        // Enough that a stretch of the log is summed up.
        for n in 0..45 {
            self.update(&mut running, 500 + n * 2).await;
        }

        let mut crashed = sandbox(&team, 4, 600, true);
        self.create(&mut crashed, 600).await;
        self.kill(&mut crashed, 700, KillReason::Oom, true).await;

        let key = IdempotencyKey { key: "again".to_owned(), request_hash: [5; 32] };
        self.admit(&sandbox(&team, 5, 800, true), Some(key)).await;
        let other = crate::nouns::team(2, "other");
        self.create(&mut sandbox(&other, 6, 900, true), 900).await;
    }

    async fn logs(&self) {
        let entry = |n: i64, level, source, message: &str| LogEntry {
            at: at_usec(n, 42),
            level,
            source,
            pid: (source != LogSource::Server).then_some(7),
            event_type: (source == LogSource::Server).then_some(EventType::Created),
            message: message.to_owned(),
        };
        let batch = |n, entries, taken_upto| LogBatch {
            sandbox_id: crate::nouns::sandbox_id(n),
            entries,
            taken_upto,
        };
        let first = vec![
            entry(21, LogLevel::Info, LogSource::Server, "sandbox created"),
            entry(22, LogLevel::Info, LogSource::Stdout, "hello \u{1f980}"),
            entry(23, LogLevel::Error, LogSource::Stderr, "it's broken"),
            entry(24, LogLevel::Debug, LogSource::Terminal, "$ ls\tx"),
            entry(25, LogLevel::Warn, LogSource::Exit, "exit 1"),
        ];
        self.store.logs.append_logs(batch(3, first, Some(17))).await.unwrap();
        self.store.logs.begin_log_export().await.unwrap();
        self.store.logs.move_log_export(3).await.unwrap();
        let second = vec![entry(26, LogLevel::Info, LogSource::Stdout, "later")];
        self.store.logs.append_logs(batch(1, second, None)).await.unwrap();
        self.store.logs.begin_event_export(self.store.events.ends().await.unwrap()).await.unwrap();
        self.store.logs.move_event_export(self.team.id, 7).await.unwrap();
    }

    /// One hour that is sealed and one that is open, with a gap, of a sandbox that works and of one that idles.
    async fn samples(&self) {
        let sample = |n: u64, seconds: i64, k: u64| Sample {
            sandbox_id: crate::nouns::sandbox_id(n),
            at: at_usec(seconds, i64::try_from(k % 20).unwrap() * 1_000),
            values: numbers(k),
        };
        let mut samples = Vec::new();
        for k in (0..150_u64).filter(|k| !(60..80).contains(k)) {
            samples.push(sample(3, 500 + i64::try_from(k).unwrap() * 5, k));
        }
        samples.extend(
            (0..10).map(|k| Sample { values: numbers(0).with(F::CpuUsed, 0), ..sample(2, 50 + k * 5, 0) }),
        );
        self.store.samples.insert_samples(samples).await.unwrap();
        let sealed = self.store.samples.seal_samples(at(3_700)).await.unwrap();
        assert_eq!(sealed.samples, 140);
        let open = (0..15_u64).map(|k| sample(3, 3_605 + i64::try_from(k).unwrap() * 5, k));
        self.store.samples.insert_samples(open.collect()).await.unwrap();
    }
}
