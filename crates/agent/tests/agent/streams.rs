use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Agent, shell};

#[test]
fn a_process_outlives_its_client_and_can_be_joined() {
    let agent = Agent::start();
    let start = json!({"process": {"cmd": "sh", "args": ["-c", "read line; echo got $line; exit 5"]}});
    let mut first = agent.process(&[], &start);
    let pid = first.pid();
    drop(first);
    let mut second = agent.stream("/process.Process/Connect", &[], &[json!({"process": {"pid": pid}})]);
    assert_eq!(second.pid(), pid);
    let input = json!({"process": {"pid": pid}, "input": {"stdin": "aGkK"}});
    assert_eq!(agent.unary("/process.Process/SendInput", &input).0, 200);
    let outcome = second.outcome();
    assert_eq!((outcome.stdout.as_str(), &outcome.end["exitCode"]), ("got hi\n", &json!(5)));

    // It ended; for a while it still says how.
    let late = agent.stream("/process.Process/Connect", &[], &[json!({"process": {"pid": pid}})]).outcome();
    assert_eq!((late.pid, &late.end["exitCode"]), (Some(pid), &json!(5)));
    assert_eq!(agent.unary("/process.Process/List", &json!({})).1, json!({}));
    let mut unknown = agent.stream("/process.Process/Connect", &[], &[json!({"process": {"tag": "no"}})]);
    assert_eq!(unknown.next(), None);
    assert_eq!(unknown.ended.unwrap()["error"]["message"], "process with tag no not found");
}

#[test]
fn the_time_limit_kills_the_whole_group() {
    let agent = Agent::start();
    let began = Instant::now();
    let outcome =
        agent.process(&[("connect-timeout-ms", "300")], &shell("sleep 1000 & sleep 1000")).outcome();
    assert_eq!(outcome.closed["error"]["code"], "deadline_exceeded");
    assert!(began.elapsed() >= Duration::from_millis(300));
    let late = json!({"process": {"pid": outcome.pid}});
    let end = agent.stream("/process.Process/Connect", &[], &[late]).outcome().end;
    assert_eq!(end["status"], "signal: killed");
}

#[test]
fn the_time_limit_of_a_reader_is_only_its_own() {
    let agent = Agent::start();
    let mut events = agent.process(&[], &json!({"process": {"cmd": "cat"}}));
    let pid = events.pid();
    let process = json!({"process": {"pid": pid}});
    let headers = [("connect-timeout-ms", "50")];
    let reader = agent.stream("/process.Process/Connect", &headers, std::slice::from_ref(&process)).outcome();
    assert_eq!(reader.closed["error"]["code"], "deadline_exceeded");
    assert_eq!(agent.unary("/process.Process/CloseStdin", &process).0, 200);
    assert_eq!(events.outcome().end["status"], "exit status 0");
}

#[test]
fn a_silent_stream_says_that_it_is_alive() {
    let agent = Agent::start();
    let mut events = agent.process(&[("keepalive-ping-interval", "1")], &json!({"process": {"cmd": "cat"}}));
    let pid = events.pid();
    assert_eq!(events.next(), Some(json!({"event": {"keepalive": {}}})));
    agent.unary("/process.Process/CloseStdin", &json!({"process": {"pid": pid}}));
    assert_eq!(events.outcome().end["status"], "exit status 0");
}

#[test]
fn much_output_arrives_whole_and_in_small_pieces() {
    let agent = Agent::start();
    let outcome = agent.run("head -c 8000000 /dev/zero | tr '\\0' x; echo done >&2");
    assert_eq!((outcome.stdout.len(), outcome.stderr.as_str()), (8_000_000, "done\n"));
}

#[test]
fn a_reader_that_never_reads_does_not_keep_a_process() {
    let agent = Agent::start();
    let script = "read go; head -c 30000000 /dev/zero; echo done >&2";
    let mut stuck = agent.process(&[], &json!({"process": {"cmd": "sh", "args": ["-c", script]}}));
    let pid = stuck.pid();
    let process = json!({"process": {"pid": pid}});
    let reader = agent.stream("/process.Process/Connect", &[], std::slice::from_ref(&process));
    let go = json!({"process": {"pid": pid}, "input": {"stdin": "Cg=="}});
    assert_eq!(agent.unary("/process.Process/SendInput", &go).0, 200);
    let outcome = reader.outcome();
    assert_eq!((outcome.stdout.len(), outcome.stderr.as_str()), (30_000_000, "done\n"));
    assert_eq!(stuck.outcome().closed["error"]["code"], "resource_exhausted");
}

#[test]
fn the_end_is_told_although_a_daemon_holds_the_output() {
    let agent = Agent::start();
    let began = Instant::now();
    let outcome = agent.run("sleep 1000 & echo $!; exit 4");
    assert_eq!(outcome.end["exitCode"], 4);
    assert!(began.elapsed() < Duration::from_secs(20));
    agent.run(&format!("kill {}", outcome.stdout.trim()));
}

#[test]
fn many_short_commands_leave_nothing_behind() {
    if !rustix::process::getuid().is_root() {
        // The agent hides its descriptors from everybody else.
        return;
    }
    let agent = Agent::start();
    let open = || std::fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().count();
    agent.run("true");
    let before = open();
    // More than may run at the same time.
    for _ in 0..600 {
        assert_eq!(agent.run("exit 1").end["exitCode"], 1);
    }
    // The connection of the last call may still be closing.
    assert!(open() <= before + 2, "{} descriptors, {before} before", open());
}

#[test]
fn a_terminal_with_its_size_and_input() {
    let agent = Agent::start();
    let start = json!({
        "process": {"cmd": "/bin/sh", "args": ["-c", "stty size; tty; read x; stty size; echo got $x"],
                    "envs": {"TERM": "xterm"}},
        "pty": {"size": {"cols": 80, "rows": 24}},
    });
    let mut events = agent.process(&[], &start);
    let pid = events.pid();
    let seen = events.until("pty", "/dev/pts/");
    assert!(seen.starts_with("24 80\r\n"), "{seen:?}");
    let process = json!({"pid": pid});
    let size = json!({"process": process, "pty": {"size": {"cols": 100, "rows": 30}}});
    assert_eq!(agent.unary("/process.Process/Update", &size), (200, json!({})));
    let input = json!({"process": process, "input": {"pty": "aGkN"}});
    assert_eq!(agent.unary("/process.Process/SendInput", &input), (200, json!({})));
    let seen = events.until("pty", "got hi");
    assert!(seen.contains("30 100\r\n"), "{seen:?}");
    assert_eq!(events.outcome().end["status"], "exit status 0");
}

#[test]
fn killing_a_terminal_ends_it() {
    let agent = Agent::start();
    let start = json!({
        "process": {"cmd": "/bin/sh", "args": ["-i"], "envs": {"PS1": "ready> "}},
        "pty": {"size": {"cols": 80, "rows": 24}},
    });
    let mut events = agent.process(&[], &start);
    let pid = events.pid();
    events.until("pty", "ready> ");
    let signal = json!({"process": {"pid": pid}, "signal": "SIGNAL_SIGKILL"});
    assert_eq!(agent.unary("/process.Process/SendSignal", &signal).0, 200);
    assert_eq!(events.outcome().end["status"], "signal: killed");
}
