//! Figures of the store: events committed a second by how many commit at once, and pages of a long log.
//!
//! Run with `cargo bench -p sandscope-store`, or `-- 10000000` for as many events in the log. Prints; asserts nothing
//! about speed.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures and prints")]
#![expect(clippy::disallowed_methods, reason = "measures real time")]

#[path = "../tests/store/support.rs"]
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
mod support;

use std::time::{Duration, Instant};

use sandscope_model::{EventFilter, EventType, Sandbox, SandboxId, Timestamp};
use sandscope_store::{Change, EventQuery, Order, Store};
use support::{House, at, draft};

/// Events in the log that pages are read from, unless a number is given.
const N_EVENTS: u32 = 1_000_000;
/// How deep the page lies that is read by position.
const DEPTH: u64 = 100_000;
/// Sandboxes they are spread over.
const N_SANDBOXES: u32 = 10_000;
/// How long each number of clients commits.
const SPAN: Duration = Duration::from_secs(3);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        for n_clients in [1, 8, 64, 512] {
            commits(n_clients).await;
        }
        let given = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
        pages(given.unwrap_or(N_EVENTS)).await;
    });
}

async fn commits(n_clients: usize) {
    let house = House::new().await;
    let mut clients = tokio::task::JoinSet::new();
    let mut sandboxes = Vec::new();
    for _ in 0..n_clients {
        sandboxes.push(house.running(0).await);
    }
    let started = Instant::now();
    for sandbox in sandboxes {
        clients.spawn(commit_until(house.store.clone(), sandbox, started + SPAN));
    }
    let mut latencies: Vec<Duration> = clients.join_all().await.concat();
    let rate = latencies.len() as f64 / started.elapsed().as_secs_f64();
    let (p50, p99) = percentiles(&mut latencies);
    println!("commit, {n_clients:>3} at once: {rate:>7.0} events/s, p50 {p50:.2} ms, p99 {p99:.2} ms");
    house.store.close().await;
}

async fn commit_until(store: Store, mut sandbox: Sandbox, end: Instant) -> Vec<Duration> {
    let mut latencies = Vec::new();
    while Instant::now() < end {
        let event = Some(draft(&sandbox, EventType::Updated, at(1)));
        let change = Change { sandbox: sandbox.clone(), event, snapshot: None };
        let started = Instant::now();
        store.facts.commit(change).await.unwrap();
        latencies.push(started.elapsed());
        sandbox.generation += 1;
    }
    latencies
}

/// Half and all but a hundredth took no longer than this many milliseconds.
fn percentiles(durations: &mut [Duration]) -> (f64, f64) {
    durations.sort_unstable();
    let at = |part: usize| durations[(durations.len() - 1) * part / 100].as_secs_f64() * 1_000.0;
    (at(50), at(99))
}

async fn pages(n_events: u32) {
    let house = House::new().await;
    let first = house.running(0).await;
    let started = Instant::now();
    fill(&house, &first.id, n_events);
    println!("{n_events} events filled in within {:.0} s", started.elapsed().as_secs_f64());
    let size = std::fs::metadata(house.dir.path().join("facts.sqlite")).unwrap().len();
    println!("{n_events} events: {} bytes each", size / u64::from(n_events));
    activities(&house, n_events).await;
    let newest = EventQuery { limit: 100, ..EventQuery::default() };
    let with = |filter| EventQuery { filter, ..newest.clone() };
    let of_one = EventFilter { sandbox_id: Some(sandbox_id(77)), ..EventFilter::default() };
    let rare = vec![EventType::Created, EventType::Checkpointed];
    let deep = u64::from(n_events).saturating_sub(DEPTH);
    let (start, end) = (at(i64::from(n_events / 3)), at(i64::from(n_events / 3) + 50));
    let label = vec![("no".to_owned(), "such".to_owned())];
    for (what, query) in [
        ("newest 10 of the team", EventQuery { limit: 10, ..newest.clone() }),
        ("newest 100 of the team", newest.clone()),
        ("100 at a cursor 100,000 deep", EventQuery { position: Some(deep), ..newest.clone() }),
        (
            "100 at a cursor 100,000 deep, oldest first",
            EventQuery { position: Some(DEPTH), order: Order::Asc, ..newest.clone() },
        ),
        ("50 by time", with(EventFilter { start: Some(start), end: Some(end), ..EventFilter::default() })),
        ("none of 5,000 by label", with(EventFilter { metadata: label, ..EventFilter::default() })),
        ("newest 100 of a sandbox", with(of_one)),
        ("100 of two rare types", with(EventFilter { types: rare, ..EventFilter::default() })),
        ("100 at offset 10,000", EventQuery { offset: 10_000, ..newest.clone() }),
    ] {
        let mut latencies = Vec::new();
        for _ in 0..if what.starts_with("none") { 50 } else { 500 } {
            let started = Instant::now();
            house.store.events.event_page(house.team.id, query.clone()).await.unwrap();
            latencies.push(started.elapsed());
        }
        let (p50, p99) = percentiles(&mut latencies);
        println!("events, {what}: p50 {p50:.2} ms, p99 {p99:.2} ms");
    }
}

/// A team's activity over the last seven days of the log, an event a second: event by event, and summed up.
async fn activities(house: &House, n_events: u32) {
    let end = at(i64::from(n_events));
    for (days, step_s) in [(1, 300), (7, 900)] {
        let start = at(i64::from(n_events) - days * 24 * 3600);
        activity(house, (start, end), step_s, &format!("{days} days, event by event"), 10).await;
    }
    let started = Instant::now();
    let n_blocks = house.store.events.sum_up_activity().await.unwrap();
    println!("activity, {n_blocks} blocks made within {:.1} s", started.elapsed().as_secs_f64());
    for (days, step_s) in [(1, 300), (7, 900)] {
        let start = at(i64::from(n_events) - days * 24 * 3600);
        activity(house, (start, end), step_s, &format!("{days} days, summed up"), 50).await;
    }
}

async fn activity(house: &House, (start, end): (Timestamp, Timestamp), step_s: u32, what: &str, n: u32) {
    let mut latencies = Vec::new();
    for _ in 0..n {
        let started = Instant::now();
        house.store.events.team_activity(house.team.id, start, end, step_s, 40_000).await.unwrap();
        latencies.push(started.elapsed());
    }
    let (p50, p99) = percentiles(&mut latencies);
    println!("activity, {what}: p50 {p50:.2} ms, p99 {p99:.2} ms");
}

fn sandbox_id(n: u32) -> SandboxId {
    format!("i{n:020}").parse().unwrap()
}

/// A long log, past the store: committing a million events one by one is not what is measured.
fn fill(house: &House, first: &SandboxId, n_events: u32) {
    let connection = rusqlite::Connection::open(house.dir.path().join("facts.sqlite")).unwrap();
    connection
        .execute(
            "WITH RECURSIVE n (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
             INSERT INTO events (team_no, sequence, id, event_type, sandbox_id, execution_id, template_id,
                 build_id, timestamp, form, change, data)
             SELECT e.team_no, n, randomblob(16), CASE WHEN n % 5000 = 0 THEN 6 ELSE 2 + n % 4 END,
                 printf('i%020d', n % ?2), randomblob(16), e.template_id, e.build_id, e.timestamp + n * 1000000, e.form,
                 CASE WHEN n % 5000 = 0 THEN 0 WHEN n % 4 = 1 THEN 0 WHEN n % 4 = 3 THEN 1 ELSE -1 END,
                 CASE
                     WHEN n % 5000 = 0 THEN json_set(e.data, '$.snapshot_template_id', e.template_id)
                     WHEN n % 4 = 1 THEN json_set(e.data, '$.set_timeout', '2026-01-01T00:00:00Z')
                     WHEN n % 4 = 3 THEN e.data
                     ELSE json_set(e.data, '$.kill_reason', 'request', '$.execution', json_object(
                         'started_at', '2026-01-01T00:00:00Z', 'vcpu_count', 1, 'memory_mb', 1,
                         'execution_time_ms', 1))
                 END
             FROM n, events e WHERE e.sandbox_id = ?3",
            rusqlite::params![n_events, N_SANDBOXES, first.as_str()],
        )
        .unwrap();
    connection.execute("UPDATE teams SET last_sequence = ?", [n_events]).unwrap();
    connection
        .execute_batch(
            "DELETE FROM event_blocks;
             INSERT INTO event_blocks SELECT team_no, sequence / 4096, MIN(timestamp), MAX(timestamp) FROM events
                 GROUP BY 1, 2;",
        )
        .unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}
