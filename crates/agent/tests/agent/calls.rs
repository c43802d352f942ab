use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Agent, me, shell};

#[test]
fn output_and_exit_status() {
    let agent = Agent::start();
    let outcome = agent.run("echo out; echo err >&2; exit 3");
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("out\n", "err\n"));
    let end = json!({"exitCode": 3, "exited": true, "status": "exit status 3", "error": "exit status 3"});
    assert_eq!((outcome.end, outcome.closed), (end, json!({})));
    assert_eq!(agent.run("true").end, json!({"exited": true, "status": "exit status 0"}));
    assert_eq!(agent.run("kill -9 $$").end["status"], "signal: killed");
    assert_eq!(agent.run("kill -9 $$").end["exitCode"], -1);
}

#[test]
fn environment_directory_and_session() {
    let agent = Agent::start();
    let start = json!({
        "process": {"cmd": "sh", "args": ["-c", "pwd; env; ps -o pid=,pgid=,sid= -p $$"],
                    "envs": {"ASKED": "a b", "FROM_INIT": "over"}, "cwd": "/usr"},
    });
    let outcome = agent.process(&[], &start).outcome();
    let lines: Vec<_> = outcome.stdout.lines().collect();
    assert_eq!(lines[0], "/usr");
    let me = me();
    for line in ["ASKED=a b", "FROM_INIT=over", "E2B_SANDBOX=true", "E2B_SANDBOX_ID=isbx"] {
        assert!(lines.contains(&line), "{line} in {lines:?}");
    }
    assert!(
        lines.contains(&format!("USER={me}").as_str()) && lines.contains(&format!("LOGNAME={me}").as_str())
    );
    let ids: Vec<_> = lines.last().unwrap().split_ascii_whitespace().collect();
    let pid = outcome.pid.unwrap().to_string();
    assert_eq!(ids, [pid.as_str(); 3]);
    assert_eq!(agent.run("pwd").stdout, "/tmp\n");
}

#[test]
fn refusals_of_a_start() {
    let agent = Agent::start();
    let refused = |headers: &[(&str, &str)], message: Value| {
        let mut events = agent.process(headers, &message);
        assert_eq!(events.next(), None);
        events.ended.unwrap()["error"].clone()
    };
    assert_eq!(
        refused(&[], json!({"process": {"cmd": "sh", "cwd": "/no/where"}})),
        json!({"code": "invalid_argument", "message": "cwd '/no/where' does not exist"})
    );
    // `ghost:`
    assert_eq!(
        refused(&[("authorization", "Basic Z2hvc3Q6")], shell("true")),
        json!({"code": "unauthenticated", "message": "invalid username: 'ghost'"})
    );
    assert_eq!(refused(&[], json!({"process": {"cmd": "/no/program"}}))["code"], "invalid_argument");
    assert_eq!(refused(&[], json!({"process": {"cmd": "a\u{0}b"}}))["code"], "invalid_argument");
    assert_eq!(refused(&[], json!({}))["code"], "invalid_argument");
    assert_eq!(refused(&[("connect-timeout-ms", "soon")], shell("true"))["code"], "invalid_argument");
    assert_eq!(agent.run("echo fine").stdout, "fine\n");
}

#[test]
fn programs_are_found_and_begin_as_everywhere() {
    use std::os::unix::fs::PermissionsExt as _;
    let agent = Agent::start();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    // No first line says who reads it: the shell does.
    file("script", "echo \"$0 $1 $#\"\n", 0o755);
    file("closed", "", 0o644);
    let at = dir.path().to_str().unwrap();
    let path = format!("/no/where:/etc/passwd:{at}:/usr/bin:/bin");
    let start = |cmd: &str| {
        let args: &[&str] = &["a b", ""];
        let process = json!({"cmd": cmd, "args": args, "envs": {"PATH": path}, "cwd": at});
        agent.process(&[], &json!({"process": process}))
    };
    for cmd in ["script", "./script", &format!("{at}/script")] {
        let found = if cmd.contains('/') { cmd.to_owned() } else { format!("{at}/script") };
        assert_eq!(start(cmd).outcome().stdout, format!("{found} a b 2\n"));
    }
    let refused = |cmd: &str| {
        let mut events = start(cmd);
        assert_eq!(events.next(), None);
        events.ended.unwrap()["error"]["message"].clone()
    };
    assert_eq!(
        refused("nothing"),
        "error starting process 'nothing': No such file or directory (os error 2)"
    );
    assert_eq!(refused("closed"), "error starting process 'closed': Permission denied (os error 13)");
    // The agent ignores this signal; programs do not.
    let status = agent.run("grep '^SigBlk' /proc/self/status | cut -f2; kill -PIPE $$");
    assert_eq!(status.stdout, "0000000000000000\n");
    assert_eq!(status.end["status"], "signal: broken pipe");
}

#[test]
fn another_user_with_their_groups() {
    if !rustix::process::getuid().is_root() {
        return;
    }
    let agent = Agent::start();
    // `nobody:`
    let outcome = agent
        .process(&[("authorization", "Basic bm9ib2R5Og==")], &shell("id -un; id -Gn; echo $HOME"))
        .outcome();
    let lines: Vec<_> = outcome.stdout.lines().collect();
    assert_eq!(lines[0], "nobody");
    assert!(!lines[1].split(' ').any(|group| group == "root"), "{lines:?}");
}

#[test]
fn input_of_a_running_process() {
    let agent = Agent::start();
    let start = json!({"process": {"cmd": "cat"}, "tag": "the cat"});
    let mut events = agent.process(&[], &start);
    let pid = events.pid();
    let by_pid = json!({"pid": pid});
    let (status, list) = agent.unary("/process.Process/List", &json!({}));
    assert_eq!(status, 200);
    assert_eq!(list, json!({"processes": [{"config": {"cmd": "cat"}, "pid": pid, "tag": "the cat"}]}));

    let input = json!({"process": by_pid, "input": {"stdin": "b25lCg=="}});
    assert_eq!(agent.unary("/process.Process/SendInput", &input), (200, json!({})));
    assert_eq!(events.until("stdout", "one\n"), "one\n");

    let mut reply = agent.stream(
        "/process.Process/StreamInput",
        &[],
        &[
            json!({"start": {"process": {"tag": "the cat"}}}),
            json!({"keepalive": {}}),
            json!({"data": {"input": {"stdin": "dHdv"}}}),
            json!({"data": {"input": {"stdin": "Cg=="}}}),
        ],
    );
    assert_eq!((reply.next(), reply.next()), (Some(json!({})), None));
    assert_eq!(events.until("stdout", "two\n"), "two\n");

    let wrong = json!({"process": by_pid, "input": {"pty": "AA=="}});
    assert_eq!(agent.unary("/process.Process/SendInput", &wrong).1["code"], "failed_precondition");
    assert_eq!(agent.unary("/process.Process/CloseStdin", &json!({"process": by_pid})), (200, json!({})));
    assert_eq!(events.outcome().end["status"], "exit status 0");
    let (status, body) = agent.unary("/process.Process/SendInput", &input);
    assert_eq!((status, &body["message"]), (404, &json!(format!("process with pid {pid} not found"))));
}

#[test]
fn signals_reach_the_whole_group() {
    let agent = Agent::start();
    let mut events = agent.process(&[], &shell("sleep 1000 & echo $!; wait"));
    let pid = events.pid();
    let child = events.until("stdout", "\n");
    let signal = json!({"process": {"pid": pid}, "signal": "SIGNAL_SIGTERM"});
    assert_eq!(agent.unary("/process.Process/SendSignal", &signal), (200, json!({})));
    let outcome = events.outcome();
    assert_eq!(outcome.end["status"], "signal: terminated");
    gone(child.trim());

    assert_eq!(agent.unary("/process.Process/SendSignal", &signal).0, 404);
    let unknown = json!({"process": {"pid": 999_999_999}, "signal": "SIGNAL_SIGKILL"});
    let (status, body) = agent.unary("/process.Process/SendSignal", &unknown);
    assert_eq!(status, 404);
    assert_eq!(body, json!({"code": "not_found", "message": "process with pid 999999999 not found"}));
    let other = json!({"process": {"pid": pid}});
    assert_eq!(agent.unary("/process.Process/SendSignal", &other).1["code"], "unimplemented");
}

#[test]
fn what_was_killed_cannot_be_killed_again() {
    let agent = Agent::start();
    for round in 0..40 {
        // Several processes in its group, which take a while to end.
        let mut events = agent.process(&[], &shell("for i in 1 2 3 4; do sleep 1000 & done; echo up; wait"));
        let pid = events.pid();
        events.until("stdout", "\n");
        let kill = json!({"process": {"pid": pid}, "signal": "SIGNAL_SIGKILL"});
        assert_eq!(agent.unary("/process.Process/SendSignal", &kill), (200, json!({})), "round {round}");
        assert_eq!(agent.unary("/process.Process/SendSignal", &kill).0, 404, "round {round}");
        assert_eq!(events.outcome().end["status"], "signal: killed");
    }
}

/// Waits until the process is no more: not even waiting to be reaped.
fn gone(pid: &str) {
    let began = Instant::now();
    while std::path::Path::new(&format!("/proc/{pid}")).exists() {
        assert!(began.elapsed() < Duration::from_secs(20), "{pid} is still there");
        std::thread::yield_now();
    }
}

#[test]
fn orphans_are_reaped_and_own_children_keep_their_status() {
    let agent = Agent::start();
    for round in 0..20 {
        // The shell in the background ends after its parent: an orphan, handed to the agent.
        let script = format!("(sh -c 'echo $$; exec >/dev/null 2>&1; read x' <&3 3<&- &) 3<&0; exit {round}");
        let start = json!({"process": {"cmd": "sh", "args": ["-c", script]}});
        let outcome = agent.process(&[], &start).outcome();
        assert_eq!(outcome.end["exitCode"].as_u64().unwrap_or(0), round);
        gone(outcome.stdout.trim());
    }
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", agent.pid())).unwrap();
    assert_eq!(children, "");
}

#[test]
fn more_orphans_than_are_reaped_at_once_are_reaped_all_the_same() {
    let agent = Agent::start();
    let script = "for i in $(seq 300); do (sleep 1000 >/dev/null 2>&1 & echo $!); done";
    let orphans: Vec<u64> = agent.run(script).stdout.lines().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(orphans.len(), 300);
    let send = |pid: u64, signal| {
        let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    };
    // While it stands still they all end, and it hears of that once.
    let own = u64::from(agent.pid());
    send(own, rustix::process::Signal::STOP);
    orphans.iter().for_each(|pid| send(*pid, rustix::process::Signal::KILL));
    send(own, rustix::process::Signal::CONT);
    orphans.iter().for_each(|pid| gone(&pid.to_string()));
    assert_eq!(agent.run("echo fine").stdout, "fine\n");
}
