//! Logs: order, pages, bounds, retention.

use std::sync::Arc;

use sandscope_model::{EventType, LogEntry, LogLevel, LogSource, SandboxId, Timestamp};
use sandscope_store::{LogBatch, LogBounds, LogQuery, Order, Store, StoreOptions};
use tempfile::TempDir;

use crate::support::{StepClock, at, sandbox_id};

struct Logs {
    store: Store,
    clock: Arc<StepClock>,
    _dir: TempDir,
}

impl Logs {
    fn open(log_bounds: LogBounds) -> Self {
        let (dir, clock) = (TempDir::new().unwrap(), Arc::new(StepClock::default()));
        let options = StoreOptions { log_bounds, ..StoreOptions::default() };
        let store = Store::open_options(dir.path(), clock.clone(), options).unwrap();
        Self { store, clock, _dir: dir }
    }

    async fn append(&self, id: &SandboxId, taken_upto: Option<u64>, entries: Vec<LogEntry>) {
        let batch = LogBatch { sandbox_id: id.clone(), entries, taken_upto };
        self.store.logs.append_logs(batch).await.unwrap();
    }

    async fn read(&self, query: LogQuery) -> Vec<String> {
        let entries = self.store.logs.logs(query).await.unwrap();
        entries.into_iter().map(|entry| entry.message).collect()
    }

    async fn all(&self, id: &SandboxId) -> Vec<String> {
        self.read(all_of(id)).await
    }
}

fn all_of(id: &SandboxId) -> LogQuery {
    LogQuery {
        sandbox_id: id.clone(),
        start: None,
        end: None,
        min_level: LogLevel::Debug,
        search: None,
        order: Order::Asc,
        limit: 1000,
    }
}

fn line(at: Timestamp, message: &str) -> LogEntry {
    LogEntry {
        at,
        level: LogLevel::Info,
        source: LogSource::Stdout,
        pid: Some(7),
        event_type: None,
        message: message.to_owned(),
    }
}

#[tokio::test]
async fn what_was_appended_is_read_again_and_filtered() {
    let logs = Logs::open(LogBounds::default());
    logs.clock.set(10);
    let (one, two) = (sandbox_id(), sandbox_id());
    let killed = LogEntry {
        level: LogLevel::Error,
        source: LogSource::Server,
        pid: None,
        event_type: Some(EventType::Killed),
        ..line(at(3), "killed: oom")
    };
    let entries = vec![line(at(1), "Hello"), line(at(2), "world"), killed];
    logs.append(&one, None, entries.clone()).await;
    logs.append(&two, None, vec![line(at(1), "another sandbox")]).await;
    assert_eq!(logs.store.logs.logs(all_of(&one)).await.unwrap(), entries);
    assert_eq!(logs.all(&sandbox_id()).await, [""; 0]);

    let query = LogQuery { start: Some(at(2)), end: Some(at(3)), ..all_of(&one) };
    assert_eq!(logs.read(query).await, ["world"]);
    let query = LogQuery { min_level: LogLevel::Warn, ..all_of(&one) };
    assert_eq!(logs.read(query).await, ["killed: oom"]);
    let query = LogQuery { search: Some("hELLO".to_owned()), ..all_of(&one) };
    assert_eq!(logs.read(query).await, ["Hello"]);
    let query = LogQuery { search: Some("%".to_owned()), ..all_of(&one) };
    assert_eq!(logs.read(query).await, [""; 0], "a search is no pattern");
    let query = LogQuery { order: Order::Desc, limit: 2, ..all_of(&one) };
    assert_eq!(logs.read(query).await, ["killed: oom", "world"]);
    assert_eq!(logs.read(LogQuery { limit: 0, ..all_of(&one) }).await, [""; 0]);
}

#[tokio::test]
async fn the_same_lines_of_the_agent_are_stored_once() {
    let logs = Logs::open(LogBounds::default());
    let id = sandbox_id();
    assert_eq!(logs.store.logs.logs_taken_upto(&id).await.unwrap(), None);
    logs.append(&id, Some(2), vec![line(at(0), "a"), line(at(0), "b")]).await;
    logs.append(&id, Some(2), vec![line(at(0), "a"), line(at(0), "b")]).await;
    logs.append(&id, None, vec![line(at(0), "the server's own")]).await;
    assert_eq!(logs.store.logs.logs_taken_upto(&id).await.unwrap(), Some(2));
    logs.append(&id, Some(3), vec![line(at(0), "c")]).await;
    assert_eq!(logs.all(&id).await, ["a", "b", "the server's own", "c"]);
}

#[tokio::test]
async fn each_log_is_bounded_by_lines_and_by_bytes_and_the_newest_stay() {
    let logs = Logs::open(LogBounds { max_entries: 100, max_bytes: 50 * 164, max_total_bytes: 1 << 30 });
    let (many, large, calm) = (sandbox_id(), sandbox_id(), sandbox_id());
    logs.append(&calm, None, vec![line(at(0), "calm")]).await;
    for n in 0..30_u64 {
        let lines = (0..20).map(|m| line(at(0), &(n * 20 + m).to_string())).collect();
        logs.append(&many, Some(n + 1), lines).await;
        let lines = (0..20).map(|m| line(at(0), &format!("{:0100}", n * 20 + m))).collect();
        logs.append(&large, Some(n + 1), lines).await;
    }
    let expected: Vec<String> = (500..600).map(|n| n.to_string()).collect();
    assert_eq!(logs.all(&many).await, expected);
    let expected: Vec<String> = (550..600).map(|n| format!("{n:0100}")).collect();
    assert_eq!(logs.all(&large).await, expected);
    assert_eq!(logs.all(&calm).await, ["calm"]);
    // One batch larger than everything allowed.
    logs.append(&many, Some(99), (0..2_500).map(|n| line(at(0), &n.to_string())).collect()).await;
    let expected: Vec<String> = (2_400..2_500).map(|n| n.to_string()).collect();
    assert_eq!(logs.all(&many).await, expected);
}

#[tokio::test]
async fn all_logs_together_are_bounded_and_the_oldest_go_whoever_they_belong_to() {
    let logs = Logs::open(LogBounds { max_entries: 1_000, max_bytes: 1 << 20, max_total_bytes: 30 * 65 });
    let (old, new) = (sandbox_id(), sandbox_id());
    logs.append(&old, Some(20), (0..20).map(|_| line(at(0), "o")).collect()).await;
    logs.append(&new, Some(25), (0..25).map(|_| line(at(0), "n")).collect()).await;
    assert_eq!((logs.all(&old).await.len(), logs.all(&new).await.len()), (5, 25));
    logs.append(&new, Some(50), (0..25).map(|_| line(at(0), "m")).collect()).await;
    assert_eq!((logs.all(&old).await.len(), logs.all(&new).await.len()), (0, 30));
    // Its counts are right: it may have as much again.
    logs.append(&old, Some(40), (0..20).map(|_| line(at(0), "o")).collect()).await;
    assert_eq!((logs.all(&old).await.len(), logs.all(&new).await.len()), (20, 10));
}

#[tokio::test]
async fn entries_go_after_seven_days_and_a_silent_log_with_them() {
    const DAY: i64 = 24 * 3600;
    let logs = Logs::open(LogBounds::default());
    let (silent, lives) = (sandbox_id(), sandbox_id());
    logs.append(&silent, Some(9), (0..1_200).map(|n| line(at(0), &n.to_string())).collect()).await;
    logs.append(&lives, Some(1), vec![line(at(0), "old")]).await;
    logs.clock.set(6 * DAY);
    logs.append(&lives, Some(2), vec![line(at(6 * DAY), "new")]).await;
    assert_eq!(logs.store.logs.delete_expired(at(7 * DAY - 1)).await.unwrap(), 0);
    assert_eq!(logs.store.logs.delete_expired(at(7 * DAY + 60)).await.unwrap(), 1_201);
    assert_eq!(logs.all(&lives).await, ["new"]);
    assert_eq!(logs.store.logs.logs_taken_upto(&silent).await.unwrap(), None);
    assert_eq!(logs.store.logs.logs_taken_upto(&lives).await.unwrap(), Some(2));
}
