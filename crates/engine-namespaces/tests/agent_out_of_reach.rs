//! Nobody inside, root included, changes, slows, limits or looks into the agent: by no id of its threads, by no file.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use std::path::Path;
use std::sync::Arc;

use sandscope_engine::Engine as _;
use sandscope_model::SandboxId;
use support::{Host, User, ask};
use tokio::task::JoinSet;

const ATTACK: &str = include_str!("attacks/agent.py");

/// What the kernel keeps of each thread of the agent, seen from outside.
fn state_of_agent(host: &Host, id: &SandboxId) -> Vec<String> {
    let pid = support::init_pid(host.state.dir.path(), id);
    let mut threads: Vec<_> = std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .map(|thread| thread.unwrap().path())
        .collect();
    threads.sort();
    threads.iter().map(|thread| state_of_thread(thread)).collect()
}

fn state_of_thread(thread: &Path) -> String {
    let read = |name: &str| std::fs::read_to_string(thread.join(name)).unwrap_or_default();
    let status = read("status");
    let kept = ["Name", "Uid", "Gid", "CapPrm", "Cpus_allowed", "TracerPid", "State"];
    let status = status.lines().filter(|line| {
        // Asleep or running is all the same, stopped is not.
        kept.iter().any(|name| line.starts_with(name))
            && !line.contains("(sleeping)")
            && !line.contains("(running)")
    });
    let stat = read("stat");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    // Priority, nice value, policy.
    let scheduling = format!("{} {} {}", fields[15], fields[16], fields[38]);
    let files = ["limits", "oom_score_adj", "coredump_filter", "autogroup", "timerslack_ns"].map(read);
    format!("{}\n{scheduling}\n{}", status.collect::<Vec<_>>().join("\n"), files.concat())
}

async fn assert_well(host: &Host, id: &SandboxId) {
    assert_eq!(ask(&host.runtime, id, "GET", "/health", &[], Vec::new()).await.0, 204);
    for user in [User::User, User::Root] {
        let ran = host.run(id, user, "echo well").await;
        assert_eq!((ran.stdout.as_str(), ran.code), ("well\n", 0), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_acts_on_a_process_acts_on_it() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let (status, _) =
        ask(&host.runtime, &id, "POST", "/files?path=/tmp/attack.py", &[OCTETS], ATTACK.into()).await;
    assert_eq!(status, 200);
    let before = state_of_agent(&host, &id);
    for user in [User::Root, User::User] {
        let ran = host.run(&id, user, "python3 /tmp/attack.py").await;
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("tried on True\n", ""), "as {user:?}");
        assert_well(&host, &id).await;
        assert_eq!(state_of_agent(&host, &id), before, "as {user:?}");
    }
    assert!(host.runtime.kill(&id).await.unwrap().is_some(), "it was still there");
}

const OCTETS: (&str, &str) = ("content-type", "application/octet-stream");

#[tokio::test(flavor = "multi_thread")]
async fn the_tools_of_the_trade_are_refused_on_it_and_work_on_ones_own() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let before = state_of_agent(&host, &id);
    let tools = "tools() { renice -n 19 -p $1 && chrt -i -p 0 $1 && taskset -p 1 $1 && ionice -c 3 -p $1 && \
                 prlimit --pid $1 --nofile=64:64; }; any() { renice -n 19 -p $1 || chrt -i -p 0 $1 || \
                 taskset -p 1 $1 || ionice -c 3 -p $1 || prlimit --pid $1 --nofile=64:64 || prlimit --pid $1; }; \
                 for t in $(ls /proc/1/task); do any $t && echo did; done >/tmp/did.$(id -u) 2>&1; \
                 grep -c did /tmp/did.$(id -u); sleep 100 & tools $! >/dev/null && tools $$ >/dev/null && \
                 echo worked; ulimit -n; kill $!";
    for user in [User::Root, User::User] {
        let ran = host.run(&id, user, tools).await;
        assert_eq!(ran.stdout, "0\nworked\n64\n", "as {user:?}: {ran:?}");
        assert_eq!(state_of_agent(&host, &id), before, "as {user:?}");
    }
    assert_well(&host, &id).await;
}

/// A process that is to become a program can be stopped like any other, also before it has become one.
#[tokio::test(flavor = "multi_thread")]
async fn who_stops_all_new_processes_does_not_stop_it() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let host = Arc::new(host);
    for (user, uid) in [(User::User, 1000), (User::Root, 0)] {
        let stop_all = "python3 -c 'import os\ntry: os.kill(-1, 19)\nexcept OSError: pass\n\
                        open(\"/tmp/stopping-%d\" % os.getuid(), \"w\").close()\nwhile True:\n  \
                        try: os.kill(-1, 19)\n  except OSError: pass'";
        let stopper = support::start(&host.runtime, &id, user, &format!("exec {stop_all}")).await;
        let path = format!("/files?path=/tmp/stopping-{uid}");
        support::eventually("it stops all others", async || {
            ask(&host.runtime, &id, "GET", &path, &[], Vec::new()).await.0 == 200
        })
        .await;
        // The sandbox has the right to be of no use to itself; its owner is answered all the same.
        let mut starts = JoinSet::new();
        for _ in 0..40 {
            let (host, id) = (Arc::clone(&host), id.clone());
            starts.spawn(async move { support::try_start(&host.runtime, &id, user, "true").await });
        }
        for _ in 0..200 {
            let asked = ask(&host.runtime, &id, "GET", "/health", &[], Vec::new());
            assert_eq!(tokio::time::timeout(support::PATIENCE / 4, asked).await.expect("no answer").0, 204);
        }
        assert_eq!(starts.join_all().await.len(), 40, "each has an answer");
        let kill = format!("{{\"process\":{{\"pid\":{stopper}}},\"signal\":\"SIGNAL_SIGKILL\"}}");
        let json = ("content-type", "application/json");
        let path = "/process.Process/SendSignal";
        assert_eq!(ask(&host.runtime, &id, "POST", path, &[json], kill.into()).await.0, 200);
        assert_well(&host, &id).await;
    }
}

/// Owned by `user`, who answers nobody that asks for it: the kernel makes whoever executes it wait.
const HOLD: &str = "exec python3 -c 'import fcntl, os, shutil, signal, time\n\
    shutil.copy(\"/bin/true\", \"/tmp/held\"); signal.signal(signal.SIGIO, signal.SIG_IGN)\n\
    held = os.open(\"/tmp/held\", os.O_RDONLY); fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)\n\
    open(\"/tmp/holds\", \"w\").close(); time.sleep(1000)'";

/// The processes that are the agent, though it has one only: they are on their way to become programs.
fn on_their_way(agent: i32) -> Vec<String> {
    let exe = std::fs::read_link(format!("/proc/{agent}/exe")).unwrap();
    let threads = std::fs::read_dir(format!("/proc/{agent}/task")).unwrap();
    let children =
        threads.filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("children")).ok());
    let pids: Vec<String> =
        children.flat_map(|pids| pids.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    pids.into_iter()
        .filter(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|of| of == exe))
        .collect()
}

/// Before it has become the program, it is one of the user's processes already, and has nothing of the agent's open.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_on_its_way_to_a_program_holds_nothing_of_it() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let agent = support::init_pid(host.state.dir.path(), &id);
    support::start(&host.runtime, &id, User::User, HOLD).await;
    support::eventually("the program is held", async || {
        host.run(&id, User::User, "ls /tmp/holds").await.code == 0
    })
    .await;
    let host = Arc::new(host);
    let start = tokio::spawn({
        let (host, id) = (Arc::clone(&host), id.clone());
        async move {
            let json = br#"{"process":{"cmd":"/tmp/held"},"stdin":false}"#;
            let length = u32::try_from(json.len()).unwrap().to_be_bytes();
            let body = [&[0], length.as_slice(), json].concat();
            let headers = [
                ("content-type", "application/connect+json"),
                ("connect-protocol-version", "1"),
                ("authorization", "Basic dXNlcjo="),
            ];
            ask(&host.runtime, &id, "POST", "/process.Process/Start", &headers, body).await
        }
    });
    let root = uid_of(agent);
    let mut found = None;
    support::eventually("it is the user's", async || {
        found = on_their_way(agent).into_iter().find(|pid| uid_of(pid.parse().unwrap()) == root + 1000);
        found.is_some()
    })
    .await;
    let pid = found.unwrap();
    let mut open: Vec<u32> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    open.sort_unstable();
    assert_eq!(open, [0, 1, 2, 3], "its own, and what it reports by");
    // A file that answers late is none the worse for it.
    assert_eq!(host.run(&id, User::User, "pkill -9 python3").await.code, 0);
    let (status, answer) = start.await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(status == 200 && answer.contains("\"exited\":true"), "{status} {answer}");
    assert_well(&host, &id).await;
}

/// Whoever has a lease on a file may keep others waiting for it, for as long as the kernel lets them: the agent says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_holds_is_refused_in_words() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    support::start(&host.runtime, &id, User::User, HOLD).await;
    support::eventually("the file is held", async || {
        host.run(&id, User::User, "ls /tmp/holds").await.code == 0
    })
    .await;
    let json = ("content-type", "application/json");
    let compose = br#"{"source_paths":["/tmp/held"],"destination":"/tmp/composed"}"#;
    let moved = br#"{"source":"/tmp/held","destination":"/dev/shm/held"}"#;
    for (method, path, header, body, status) in [
        ("GET", "/files?path=/tmp/held", OCTETS, b"".as_slice(), 409),
        ("POST", "/files?path=/tmp/held", OCTETS, b"new".as_slice(), 409),
        ("POST", "/files/compose", json, compose.as_slice(), 409),
        ("POST", "/filesystem.Filesystem/Move", json, moved.as_slice(), 400),
    ] {
        let (got, answer) = ask(&host.runtime, &id, method, path, &[header], body.to_vec()).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(got == status && answer.contains("somebody holds it"), "{method} {path}: {got} {answer}");
        assert!(status != 400 || answer.contains("failed_precondition"), "{answer}");
    }
    assert_well(&host, &id).await;
}

fn uid_of(pid: i32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let uid =
        status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next()?.parse().ok());
    uid.unwrap_or_default()
}
