//! What survives: crashes, concurrent writers, other processes, broken disks.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use sandscope_model::{EventType, State};
use sandscope_store::fault::Fault;
use sandscope_store::{Change, Heard, Store, StoreError};

use crate::child;
use crate::support::{House, at, draft, execution, sandbox, team};

/// Every round kills the committing process after another number of answers.
#[tokio::test]
async fn every_answered_commit_outlives_a_kill() {
    let house = House::new().await;
    let directory = house.dir.path().to_owned();
    house.store.close().await;
    let mut n_before = 0;
    for n_answers in [1, 7, 40, 150, 333] {
        let mut child = child::command(&[], "commit until killed", &directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut answered: Vec<String> =
            lines.by_ref().filter(|line| line.contains("answered")).take(n_answers).collect();
        // SIGKILL.
        child.kill().unwrap();
        answered.extend(lines.filter(|line| line.contains("answered")));
        child.wait().unwrap();
        assert!(answered.len() >= n_answers);

        let store = Store::open(&directory, house.clock.clone()).unwrap();
        let log = store.events.events_after(house.team.id, n_before, u32::MAX).await.unwrap();
        for (event, expected) in log.iter().zip(n_before + 1..) {
            assert_eq!(event.sequence, expected);
        }
        let mut generations = HashMap::new();
        for event in &log {
            *generations.entry(event.sandbox_id().unwrap().clone()).or_insert(0_u64) += 1;
        }
        for line in &answered {
            // The test harness may have begun the line.
            let parts: Vec<&str> = line.split(' ').skip_while(|part| *part != "answered").collect();
            let [_, id, generation, sequence] = parts[..] else {
                // The last line may be cut short by the kill.
                assert_eq!(answered.last(), Some(line));
                continue;
            };
            let event = store.events.event(house.team.id, sequence.parse().unwrap()).await.unwrap().unwrap();
            assert_eq!(event.sandbox_id().unwrap().as_str(), id);
            assert!(generations[event.sandbox_id().unwrap()] >= generation.parse().unwrap());
        }
        // State and log tell the same story.
        for (id, n_events) in generations {
            assert_eq!(store.facts.sandbox(&id).await.unwrap().unwrap().generation, n_events);
        }
        n_before = store.events.last_sequence(house.team.id).await.unwrap();
        assert_eq!(log.last().unwrap().sequence, n_before);
        store.close().await;
    }
}

#[tokio::test]
async fn a_key_made_by_another_process_counts_at_once() {
    let house = House::new().await;
    assert_eq!(house.store.facts.authenticate([42; 32]).await.unwrap(), None);
    let status = child::command(&[], "make a key", house.dir.path()).stdout(Stdio::null()).status().unwrap();
    assert!(status.success());
    let found = house.store.facts.authenticate([42; 32]).await.unwrap().unwrap().team;
    assert_eq!(found.id, house.team.id);
    // And this process goes on writing.
    house.running(0).await;
}

#[test]
fn many_may_open_a_new_directory_at_once() {
    for _ in 0..5 {
        let directory = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let clock = std::sync::Arc::new(crate::support::StepClock::default());
                scope.spawn(|| Store::open(directory.path(), clock).unwrap());
            }
        });
    }
}

#[test]
fn a_full_disk_and_a_read_only_one_refuse_writes_and_serve_reads() {
    let namespace = ["unshare", "--user", "--map-root-user", "--mount"];
    let possible =
        Command::new(namespace[0]).args(&namespace[1..]).arg("true").stderr(Stdio::null()).status();
    if !possible.is_ok_and(|status| status.success()) {
        println!("SKIPPED: this machine gives no mount namespace to mount a small disk in");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let output = child::command(&namespace, "fill the disk", directory.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("a/b");
    let store = Store::open(&directory, std::sync::Arc::new(crate::support::StepClock::default())).unwrap();
    store.facts.create_team(team("x")).await.unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let mut n_files = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        n_files += 1;
    }
    assert!(n_files >= 3);
}

#[tokio::test]
async fn a_row_that_makes_no_sense_is_named_and_spoils_nothing_else() {
    let house = House::new().await;
    let sandbox = house.running(0).await;
    let other = house.running(1).await;
    let file = house.dir.path().join("facts.sqlite");
    let connection = rusqlite::Connection::open(&file).unwrap();
    let broken = "UPDATE sandboxes SET state_data = '{\"state\":\"dreaming\"}' WHERE id = ?";
    connection.execute(broken, [sandbox.id.as_str()]).unwrap();
    let expected =
        StoreError::Corrupt { table: "sandboxes", column: "state_data", row: sandbox.id.to_string() };
    assert!(!expected.is_unavailable());
    assert_eq!(house.store.facts.sandbox(&sandbox.id).await, Err(expected));
    assert!(house.store.facts.sandbox(&other.id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_failure_says_what_was_done_to_which_file_and_keeps_its_cause() {
    let house = House::new().await;
    let connection = rusqlite::Connection::open(house.dir.path().join("samples.sqlite")).unwrap();
    connection.execute_batch("DROP TABLE series").unwrap();
    let error = house.store.samples.sample_range(&sandbox(&house.team, 0).id).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("the store failed: reading samples.sqlite: no such table: series"), "{text}");
    let mut cause: &dyn std::error::Error = &error;
    while let Some(below) = cause.source() {
        cause = below;
        if cause.is::<rusqlite::Error>() {
            return;
        }
    }
    panic!("the cause is lost: {error:?}");
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused() {
    let house = House::new().await;
    house.store.close().await;
    let file = house.dir.path().join("facts.sqlite");
    rusqlite::Connection::open(&file).unwrap().pragma_update(None, "user_version", 1_000).unwrap();
    let refused = Store::open(house.dir.path(), house.clock.clone()).err();
    assert!(matches!(refused, Some(StoreError::TooNew { found: 1_000, .. })), "{refused:?}");
}

/// What one of many concurrent clients does next.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A change with an event.
    Commit,
    /// A change from a generation that is gone.
    Stale,
    /// The next transaction fails.
    Break(Fault),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Commit),
        2 => Just(Step::Stale),
        1 => prop_oneof![Just(Fault::Full), Just(Fault::Io)].prop_map(Step::Break),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever many clients of two teams do at once, and whatever fails meanwhile: each team's log is 1, 2, 3 …,
    /// holds exactly what was answered, the feed told it in that order, and each row counts its own changes.
    #[test]
    fn logs_have_no_gaps(clients in prop::collection::vec(prop::collection::vec(any_step(), 1..12), 1..10)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(log_without_gaps(clients));
    }
}

async fn log_without_gaps(clients: Vec<Vec<Step>>) {
    let house = House::new().await;
    let teams = [house.team.clone(), house.other_team("other").await];
    let mut feed = house.store.events.subscribe_events();
    let mut sandboxes = Vec::new();
    for (_, team) in clients.iter().zip(teams.iter().cycle()) {
        let sandbox = sandbox(team, 0);
        house.store.facts.admit_sandbox(&sandbox, 1_000, None).await.unwrap();
        sandboxes.push(sandbox);
    }
    let mut tasks = Vec::new();
    for (mut sandbox, steps) in sandboxes.into_iter().zip(clients) {
        sandbox.state = State::Running { execution: execution(&sandbox) };
        let (store, faults) = (house.store.clone(), house.faults.clone());
        tasks.push(tokio::spawn(async move {
            let mut answered = Vec::new();
            for step in steps {
                let mut change = Change {
                    sandbox: sandbox.clone(),
                    event: Some(draft(&sandbox, EventType::Updated, at(1))),
                    snapshot: None,
                };
                match step {
                    Step::Commit => {}
                    Step::Stale => change.sandbox.generation += 1,
                    Step::Break(fault) => faults.fail_next(fault),
                }
                match store.facts.commit(change).await {
                    Ok(event) => {
                        answered.push(event.unwrap());
                        sandbox.generation += 1;
                    }
                    Err(error) => assert!(error.is_unavailable() || matches!(step, Step::Stale), "{error}"),
                }
            }
            (sandbox, answered)
        }));
    }
    let mut answered = Vec::new();
    for task in tasks {
        let (sandbox, events) = task.await.unwrap();
        assert_eq!(
            house.store.facts.sandbox(&sandbox.id).await.unwrap().unwrap().generation,
            sandbox.generation
        );
        answered.extend(events);
    }
    let mut told: HashMap<_, Vec<_>> = HashMap::new();
    while let Some(Heard::Event(event)) = feed.try_next() {
        told.entry(event.team_id).or_default().push((*event).clone());
    }
    for team in teams {
        let log = house.store.events.events_after(team.id, 0, u32::MAX).await.unwrap();
        let sequences: Vec<u64> = log.iter().map(|event| event.sequence).collect();
        let n = house.store.events.last_sequence(team.id).await.unwrap();
        assert_eq!(sequences, (1..=n).collect::<Vec<_>>());
        assert_eq!(told.remove(&team.id).unwrap_or_default(), log);
        let mut answered: Vec<_> =
            answered.iter().filter(|event| event.team_id == team.id).cloned().collect();
        answered.sort_by_key(|event| event.sequence);
        assert_eq!(answered, log);
    }
}
