//! Tests that need a process of their own run this test binary again, for one of the tasks below.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use sandscope_model::{EventType, Sandbox, State};
use sandscope_store::{Change, NewApiKey, Store, StoreError};

use crate::support::{StepClock, at, draft, execution, key, sandbox, team};

const TASK: &str = "SANDSCOPE_STORE_TEST_TASK";
const DIRECTORY: &str = "SANDSCOPE_STORE_TEST_DIRECTORY";

/// A command that runs `task` on the files in `directory`, behind `wrapper` (a program and its arguments).
pub(crate) fn command(wrapper: &[&str], task: &str, directory: &std::path::Path) -> Command {
    let exe = std::env::current_exe().unwrap();
    let mut command = match wrapper {
        [] => Command::new(exe),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(exe);
            command
        }
    };
    command
        .args(["--exact", "child::runs_the_task_it_was_given", "--nocapture"])
        .env(TASK, task)
        .env(DIRECTORY, directory)
        .stdin(Stdio::null());
    command
}

#[test]
fn runs_the_task_it_was_given() {
    // Without a task this is the ordinary run of all tests, and there is nothing to do.
    let Ok(task) = std::env::var(TASK) else { return };
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match task.as_str() {
        "commit until killed" => runtime.block_on(commit_until_killed(&directory)),
        "make a key" => runtime.block_on(make_a_key(&directory)),
        "fill the disk" => runtime.block_on(fill_the_disk(&directory)),
        other => panic!("no such task: {other}"),
    }
}

fn open(directory: &std::path::Path) -> Store {
    Store::open(directory, Arc::new(StepClock::default())).unwrap()
}

/// Commits from many tasks at once and says each commit that was answered on a line of its own.
async fn commit_until_killed(directory: &std::path::Path) {
    let store = open(directory);
    let team = store.facts.teams().await.unwrap().remove(0);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        tasks.spawn(commit_for_ever(store.clone(), sandbox(&team, 0)));
    }
    // None ever ends but by failing.
    while let Some(outcome) = tasks.join_next().await {
        outcome.unwrap();
    }
}

async fn commit_for_ever(store: Store, mut sandbox: Sandbox) {
    store.facts.admit_sandbox(&sandbox, 1_000_000, None).await.unwrap();
    sandbox.state = State::Running { execution: execution(&sandbox) };
    loop {
        let event = Some(draft(&sandbox, EventType::Updated, at(1)));
        let change = Change { sandbox: sandbox.clone(), event, snapshot: None };
        let event = store.facts.commit(change).await.unwrap().unwrap();
        sandbox.generation += 1;
        let line = format!("answered {} {} {}\n", sandbox.id, sandbox.generation, event.sequence);
        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    }
}

async fn make_a_key(directory: &std::path::Path) {
    let store = open(directory);
    let team = store.facts.teams().await.unwrap().remove(0);
    let key = NewApiKey { hash: [42; 32], ..key(&team, "from elsewhere") };
    store.facts.insert_api_key(key).await.unwrap();
    store.close().await;
}

fn mount(arguments: &[&str], directory: &std::path::Path) {
    let status = Command::new("mount").args(arguments).arg(directory).status().unwrap();
    assert!(status.success(), "mount {arguments:?}: {status}");
}

/// In a mount namespace of its own: a small file system, filled and emptied, then read-only.
async fn fill_the_disk(directory: &std::path::Path) {
    mount(&["-t", "tmpfs", "-o", "size=2m", "tmpfs"], directory);
    let data = directory.join("odd name?%#");
    let store = open(&data);
    let team = team("first");
    store.facts.create_team(team.clone()).await.unwrap();
    let ballast = directory.join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);

    let mut n_written = 0;
    let refusal = loop {
        let mut one = sandbox(&team, n_written);
        one.spec.metadata.insert("filler".to_owned(), "x".repeat(2_000));
        match store.facts.admit_sandbox(&one, 1_000_000, None).await {
            Ok(_) => n_written += 1,
            Err(error) => break error,
        }
        assert!(n_written < 10_000, "the disk never filled");
    };
    assert_eq!(refusal, StoreError::Full);
    assert_eq!(i64::try_from(store.facts.live_sandboxes().await.unwrap().len()).unwrap(), n_written);
    std::fs::remove_file(&ballast).unwrap();
    store.facts.admit_sandbox(&sandbox(&team, n_written), 1_000_000, None).await.unwrap();
    n_written += 1;

    // Once as a clean shutdown leaves the files, once as a crash does.
    for crash in [false, true] {
        let copy = directory.join(format!("crash {crash}"));
        if !crash {
            store.close().await;
        }
        std::fs::create_dir(&copy).unwrap();
        let store = if crash { Some(open(&data)) } else { None };
        if let Some(store) = &store {
            store.facts.admit_sandbox(&sandbox(&team, n_written), 1_000_000, None).await.unwrap();
            n_written += 1;
        }
        for entry in std::fs::read_dir(&data).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
        if let Some(store) = store {
            store.close().await;
        }
        mount(&["-o", "remount,ro"], directory);
        let store = open(&copy);
        assert_eq!(store.facts.create_team(crate::support::team("x")).await, Err(StoreError::ReadOnly));
        assert_eq!(i64::try_from(store.facts.live_sandboxes().await.unwrap().len()).unwrap(), n_written);
        store.close().await;
        let nothing_there = Store::open(&directory.join("new"), Arc::new(StepClock::default()));
        assert_eq!(nothing_there.err(), Some(StoreError::ReadOnly));
        mount(&["-o", "remount,rw"], directory);
    }
}
