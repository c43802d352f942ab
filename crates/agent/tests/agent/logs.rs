//! What processes write, as the server fetches it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Agent, shell};

/// Nothing here takes longer unless it is broken.
const LIMIT: Duration = Duration::from_secs(60);

fn fetch(agent: &Agent, query: &str) -> (u16, Value) {
    let answer = agent.call("GET", &format!("/logs?{query}"), &[], b"");
    (answer.status, answer.json())
}

fn resident_kib(agent: &Agent) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", agent.pid())).unwrap();
    4 * statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap()
}

#[test]
fn every_line_is_there_until_what_follows_is_asked_for() {
    let agent = Agent::start();
    agent.process(&[], &shell("echo out; echo err >&2; printf unfinished; exit 4")).outcome();
    let (status, body) = fetch(&agent, "after=0&wait=30");
    assert_eq!(status, 200);
    let told = |line: &Value| {
        (line["source"].as_str().unwrap().to_owned(), line["text"].as_str().unwrap().to_owned())
    };
    let mut told: Vec<_> = body["lines"].as_array().unwrap().iter().map(told).collect();
    assert_eq!(told.pop().unwrap(), ("exit".to_owned(), "exit status 4".to_owned()));
    told.sort();
    let expected = [("stderr", "err"), ("stdout", "out"), ("stdout", "unfinished")];
    assert_eq!(told, expected.map(|(source, text)| (source.to_owned(), text.to_owned())));
    assert_eq!(body["upto"], 4);
    assert_eq!(fetch(&agent, "after=0").1["lines"].as_array().unwrap().len(), 4);
    assert_eq!(fetch(&agent, "after=4").1["lines"], json!([]));
    assert_eq!(fetch(&agent, "after=0").1["lines"], json!([]));

    assert_eq!(fetch(&agent, "after=x").0, 400);
    assert_eq!(agent.call("POST", "/logs", &[], b"").status, 405);
    assert_eq!(agent.send("GET", "/logs", &[], b"").status, 401);
}

#[test]
fn a_terminal_is_logged_as_such() {
    let agent = Agent::start();
    let process = json!({"process": {"cmd": "/bin/sh", "args": ["-c", "echo seen"]}, "pty": {"size": {}}});
    agent.process(&[], &process).outcome();
    let lines = fetch(&agent, "after=0").1["lines"].clone();
    assert_eq!((&lines[0]["source"], &lines[0]["text"]), (&json!("pty"), &json!("seen")));
    assert_eq!(lines[1]["source"], "exit");
}

#[test]
fn a_flood_nobody_fetches_neither_stops_the_process_nor_grows_the_agent() {
    const N_BYTES: u64 = 32 << 20;
    let agent = Agent::start();
    let before = resident_kib(&agent);
    let directory = tempfile::tempdir().unwrap();
    let done = directory.path().join("done");
    // Lines of two bytes, and nobody reads.
    let script = format!("yes | head -c {N_BYTES}; : > {}", done.display());
    drop(agent.process(&[], &shell(&script)));
    let began = Instant::now();
    while !done.exists() {
        assert!(began.elapsed() < LIMIT, "the process is held up");
        // sleep: the pause between two looks
        std::thread::sleep(Duration::from_millis(20));
    }
    let (mut after, mut n_kept) = (0, 0);
    // What the pipe still holds is counted as soon as it is read.
    while after <= N_BYTES / 2 {
        assert!(began.elapsed() < LIMIT, "lines are missing: {after}");
        let (_, body) = fetch(&agent, &format!("after={after}&wait=1"));
        n_kept += body["lines"].as_array().unwrap().len();
        after = body["upto"].as_u64().unwrap();
    }
    assert_eq!(after, N_BYTES / 2 + 1, "every line and the end of the process");
    assert!(n_kept < 100_000, "{n_kept}");
    let grown = resident_kib(&agent).saturating_sub(before);
    assert!(grown < 4 * 1024, "the agent has grown by {grown} KiB");
}
