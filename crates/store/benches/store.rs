//! Figures of the store: events committed a second by how many commit at once, and pages of a long log.
//!
//! Run with `cargo bench -p sandscope-store`. Prints; asserts nothing about speed.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures and prints")]
#![expect(clippy::disallowed_methods, reason = "measures real time")]

#[path = "../tests/store/support.rs"]
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
mod support;

use std::time::{Duration, Instant};

use sandscope_model::{EventFilter, EventType, Sandbox, SandboxId};
use sandscope_store::{Change, EventQuery, Store};
use support::{House, at, draft};

/// Events in the log that pages are read from.
const N_EVENTS: u32 = 1_000_000;
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
        pages().await;
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
        store.commit(change).await.unwrap();
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

async fn pages() {
    let house = House::new().await;
    let first = house.running(0).await;
    fill(&house, &first.id);
    let size = std::fs::metadata(house.dir.path().join("facts.sqlite")).unwrap().len();
    println!("{N_EVENTS} events: {} bytes each", size / u64::from(N_EVENTS));
    let newest = EventQuery { limit: 100, ..EventQuery::default() };
    let with = |filter| EventQuery { filter, ..newest.clone() };
    let of_one = EventFilter { sandbox_id: Some(sandbox_id(77)), ..EventFilter::default() };
    let rare = vec![EventType::Created, EventType::Checkpointed];
    for (what, query) in [
        ("newest 100 of the team", newest.clone()),
        ("newest 100 of a sandbox", with(of_one)),
        ("100 of two rare types", with(EventFilter { types: rare, ..EventFilter::default() })),
        ("100 at offset 10,000", EventQuery { offset: 10_000, ..newest.clone() }),
    ] {
        let mut latencies = Vec::new();
        for _ in 0..500 {
            let started = Instant::now();
            house.store.events(house.team.id, query.clone()).await.unwrap();
            latencies.push(started.elapsed());
        }
        let (p50, p99) = percentiles(&mut latencies);
        println!("events, {what}: p50 {p50:.2} ms, p99 {p99:.2} ms");
    }
}

fn sandbox_id(n: u32) -> SandboxId {
    format!("i{n:020}").parse().unwrap()
}

/// A long log, past the store: committing a million events one by one is not what is measured.
fn fill(house: &House, first: &SandboxId) {
    let connection = rusqlite::Connection::open(house.dir.path().join("facts.sqlite")).unwrap();
    connection
        .execute(
            "WITH RECURSIVE n (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
             INSERT INTO events (team_no, sequence, id, event_type, sandbox_id, execution_id, template_id,
                 build_id, timestamp, data)
             SELECT e.team_no, n, randomblob(16), CASE WHEN n % 5000 = 0 THEN 6 ELSE 2 + n % 4 END,
                 printf('i%020d', n % ?2), randomblob(16), e.template_id, e.build_id, e.timestamp + n, e.data
             FROM n, events e WHERE e.sandbox_id = ?3",
            rusqlite::params![N_EVENTS, N_SANDBOXES, first.as_str()],
        )
        .unwrap();
    connection.execute("UPDATE teams SET last_sequence = ?", [N_EVENTS]).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}
