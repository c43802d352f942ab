//! The first process of a sandbox outlives whatever happens around it, and goes on answering.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use sandscope_engine::Engine as _;
use sandscope_engine_namespaces::linux::NamespacesEngine;
use sandscope_model::SandboxId;
use support::{Host, User, ask, counters, eventually, start};

const JSON: (&str, &str) = ("content-type", "application/json");
const OCTETS: (&str, &str) = ("content-type", "application/octet-stream");

/// The agent answers, runs commands and handles files, as both users.
async fn assert_well(host: &Host, id: &SandboxId) {
    assert_eq!(ask(&host.runtime, id, "GET", "/health", &[], Vec::new()).await.0, 204);
    for (user, name) in [(User::User, "user"), (User::Root, "root")] {
        let ran = host.run(id, user, "id -un").await;
        assert_eq!((ran.stdout.trim(), ran.code), (name, 0), "{ran:?}");
    }
    assert_eq!(upload(&host.runtime, id, "/tmp/well", b"well".to_vec()).await.0, 200);
    let (status, bytes) = ask(&host.runtime, id, "GET", "/files?path=/tmp/well", &[], Vec::new()).await;
    assert_eq!((status, bytes.as_ref()), (200, b"well".as_slice()));
}

async fn upload(runtime: &NamespacesEngine, id: &SandboxId, path: &str, bytes: Vec<u8>) -> (u16, String) {
    let (status, body) = ask(runtime, id, "POST", &format!("/files?path={path}"), &[OCTETS], bytes).await;
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn send_signal(host: &Host, id: &SandboxId, pid: u32) -> u16 {
    let body = format!("{{\"process\":{{\"pid\":{pid}}},\"signal\":\"SIGNAL_SIGKILL\"}}");
    ask(&host.runtime, id, "POST", "/process.Process/SendSignal", &[JSON], body.into()).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn no_signal_from_inside_reaches_it() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    for user in [User::User, User::Root] {
        // All there are, the real-time ones as well; and through a descriptor of the process.
        let script = "for s in $(seq 1 64); do kill -$s 1; done 2>/dev/null; kill -9 1; \
                      python3 -c 'import os,signal; fd=os.pidfd_open(1); signal.pidfd_send_signal(fd, 9)'; echo sent";
        let ran = host.run(&id, user, script).await;
        assert!(ran.stdout.contains("sent"), "{ran:?}");
        assert_well(&host, &id).await;
    }
    assert_eq!(host.run(&id, User::Root, "grep '^State' /proc/1/status | cut -f2 | cut -c1").await.code, 0);
}

/// Signals it once had handlers for, sent at the same moment: one chance for each sandbox, so several are asked.
#[tokio::test(flavor = "multi_thread")]
async fn no_two_signals_at_once_reach_it_either() {
    let Some(host) = Host::start().await else { return };
    for _ in 0..8 {
        let id = host.create().await;
        let script = "for i in 1 2 3; do for s in 7 11 17; do (kill -$s 1 &); done; for s in $(seq 1 31); do \
                      kill -$s 1; done; done 2>/dev/null; echo sent";
        assert!(host.run(&id, User::Root, script).await.stdout.contains("sent"));
        assert_well(&host, &id).await;
        host.runtime.kill(&id).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_everybody_spares_it_and_other_users() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let of_root = start(&host.runtime, &id, User::Root, "sleep 1000").await;
    let of_user = start(&host.runtime, &id, User::User, "sleep 1000").await;
    let alive = async |pid: u32| {
        host.run(&id, User::Root, &format!("kill -0 {pid} 2>/dev/null && echo yes")).await.stdout == "yes\n"
    };
    // The shell is among those it kills.
    assert_eq!(host.run(&id, User::User, "kill -9 -1; kill -9 $$").await.code, -1);
    eventually("the user's process is gone", async || !alive(of_user).await).await;
    assert!(alive(of_root).await);
    assert_well(&host, &id).await;
    assert_eq!(host.run(&id, User::Root, "kill -9 -1; kill -9 $$").await.code, -1);
    eventually("root's process is gone", async || !alive(of_root).await).await;
    assert_well(&host, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn root_inside_cannot_limit_or_look_into_it() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let limit = "python3 -c 'import resource; resource.prlimit(1, resource.RLIMIT_CPU, (1, 1))' 2>&1 | tail -1; \
                 prlimit --pid 1 --nofile=3:3 2>&1; prlimit --pid $$ --nofile=64:64 && ulimit -n";
    let ran = host.run(&id, User::Root, limit).await;
    assert_eq!(ran.stdout.to_lowercase().matches("not permitted").count(), 2, "{ran:?}");
    assert!(ran.stdout.ends_with("64\n"), "its own may be limited: {ran:?}");
    let look = "python3 -c 'import ctypes; c=ctypes.CDLL(None, use_errno=True); \
                print(c.ptrace(16, 1, 0, 0), ctypes.get_errno())'; cat /proc/1/environ /proc/1/maps | wc -c";
    let ran = host.run(&id, User::Root, look).await;
    assert_eq!(ran.stdout, "-1 1\n0\n", "{ran:?}");
    assert_well(&host, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_bomb_ends_at_the_limit_and_with_its_command() {
    let Some(mut host) = Host::start().await else { return };
    // Few enough not to disturb the machine, and all the same.
    host.runtime.shutdown().await;
    drop(host.runtime);
    let mut options = support::options(host.state.dir.path());
    options.max_pids = 96;
    host.runtime = NamespacesEngine::start(options, support::tasks()).await.unwrap();
    host.runtime.recover().await.unwrap();
    let id = host.create().await;
    let bomb = "exec 2>/dev/null; f() { f & f & sleep 1000; }; f";
    let pid = start(&host.runtime, &id, User::User, bomb).await;
    let processes = async || counters(&host.runtime, &id).await.unwrap().n_pids;
    eventually("the bomb has gone off", async || processes().await >= 90).await;
    for round in 0..20 {
        // Nothing of this needs a new process or thread.
        assert_eq!(ask(&host.runtime, &id, "GET", "/health", &[], Vec::new()).await.0, 204);
        let (status, body) = upload(&host.runtime, &id, "/tmp/f", vec![b'x'; 100_000 + round]).await;
        assert_eq!(status, 200, "{body}");
        let list = br#"{"path":"/tmp"}"#.to_vec();
        let (status, body) =
            ask(&host.runtime, &id, "POST", "/filesystem.Filesystem/ListDir", &[JSON], list).await;
        assert_eq!(status, 200, "{body:?}");
    }
    assert!(processes().await <= 96);
    assert_eq!(send_signal(&host, &id, pid).await, 200);
    eventually("the bomb is over", async || processes().await < 10).await;
    assert_well(&host, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_and_lived_with() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let megabytes = |count: usize| vec![b'x'; count << 20];
    let (status, body) = upload(&host.runtime, &id, "/home/user/large", megabytes(100)).await;
    let message = format!("attempted to write {} bytes: not enough disk space available", 100 << 20);
    assert_eq!((status, body), (507, format!("{{\"code\":507,\"message\":\"{message}\"}}")));
    // Half a file is not left in the way.
    let ran = host.run(&id, User::User, "ls /home/user/large; df --output=avail -m / | tail -1").await;
    assert!(ran.stdout.trim().parse::<u32>().unwrap() > 30, "{ran:?}");

    // Compressed a thousand times: what counts is what it comes to.
    let bomb = host.run(&id, User::User, "head -c 300000000 /dev/zero | gzip -9 | base64 -w0").await.stdout;
    let bomb = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, bomb).unwrap();
    let headers = [OCTETS, ("content-encoding", "gzip")];
    let (status, body) = ask(&host.runtime, &id, "POST", "/files?path=bomb", &headers, bomb).await;
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(status == 507 && body.contains("not enough disk space available"), "{status} {body}");

    host.run(
        &id,
        User::User,
        "head -c 200000000 /dev/zero > ~/full; for i in 1 2 3 4 5; do echo x >> ~/more; done",
    )
    .await;
    let (status, body) = upload(&host.runtime, &id, "/home/user/one", megabytes(1)).await;
    assert_eq!(status, 507, "{body}");
    let ran = host.run(&id, User::User, "echo still; cat ~/full | head -c 3 | wc -c").await;
    assert_eq!(ran.stdout, "still\n3\n", "{ran:?}");
    let list = br#"{"path":"/home/user"}"#.to_vec();
    let (status, body) =
        ask(&host.runtime, &id, "POST", "/filesystem.Filesystem/ListDir", &[JSON], list).await;
    assert!(status == 200 && !body.is_empty(), "{body:?}");
    let sources = br#"{"source_paths":["full"],"destination":"/usr/local/copy"}"#.to_vec();
    let (status, body) = ask(&host.runtime, &id, "POST", "/files/compose", &[JSON], sources).await;
    assert_eq!(status, 507, "{body:?}");
    let remove = br#"{"path":"full"}"#.to_vec();
    assert_eq!(
        ask(&host.runtime, &id, "POST", "/filesystem.Filesystem/Remove", &[JSON], remove).await.0,
        200
    );
    assert_eq!(upload(&host.runtime, &id, "/home/user/one", megabytes(1)).await.0, 200);
    assert_well(&host, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_memory_ends_who_fills_it() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    // What cannot be killed away first: files in memory.
    let fill = "head -c 1G /dev/zero > /dev/shm/a; head -c 1G /dev/zero > /run/a; head -c 1G /dev/zero > /dev/a; echo full";
    let ran = host.run(&id, User::Root, fill).await;
    assert!(ran.stdout.contains("full"), "{ran:?}");
    for _ in 0..3 {
        let eats = host.run(&id, User::User, "python3 -c 'x=bytearray(200<<20)'").await;
        assert_ne!(eats.code, 0, "{eats:?}");
    }
    // Many who each take little, and each the least likely victim it may make itself.
    let crowd = "for i in $(seq 200); do python3 -c 'open(\"/proc/self/oom_score_adj\",\"w\").write(\"300\"); \
                 x=b\"x\"*(2<<20); import time; time.sleep(1000)' & done 2>/dev/null; wait";
    let crowd = start(&host.runtime, &id, User::User, crowd).await;
    eventually("memory has run out", async || counters(&host.runtime, &id).await.unwrap().n_oom_kills >= 4)
        .await;
    assert_eq!(ask(&host.runtime, &id, "GET", "/health", &[], Vec::new()).await.0, 204);
    // It may have been among the victims.
    let _ = send_signal(&host, &id, crowd).await;
    host.run(&id, User::Root, "rm /dev/shm/a /run/a; pkill -9 python3").await;
    assert_well(&host, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_reaped_and_closed_descriptors_disturb_nobody() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let script = "for i in $(seq 100); do (sh -c 'sleep 0.01; exit 3' &) ; done; \
                  (exec 0<&- 1>&- 2>&-; sleep 0.1 &); exec 0<&- 1>&- 2>&-; exit 5";
    assert_eq!(host.run(&id, User::User, script).await.code, 5);
    let zombies = "cat /proc/[0-9]*/stat 2>/dev/null | awk '$3 == \"Z\"' | wc -l";
    eventually("nobody is left unburied", async || {
        let ran = host.run(&id, User::Root, &format!("{zombies}; ls -d /proc/[0-9]* | wc -l")).await;
        let numbers: Vec<u32> = ran.stdout.split_whitespace().map(|number| number.parse().unwrap()).collect();
        numbers[0] == 0 && numbers[1] < 10
    })
    .await;
    // Every descriptor it may have, of a kind that the whole sandbox shares.
    let greedy =
        "import os\nkept=[]\ntry:\n  while True: kept.extend(os.pipe())\nexcept OSError as e: print(e.errno)";
    let ran = host.run(&id, User::User, &format!("python3 -c '{greedy}'")).await;
    assert_eq!(ran.stdout, "24\n", "{ran:?}");
    assert_well(&host, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_held_open_inside_do_not_lock_the_owner_out() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let hold = "import socket,time\nkept=[]\nfor i in range(3000):\n  s=socket.socket(); s.settimeout(15)\n  \
                try: s.connect((\"127.0.0.1\",49983)); s.send(b\"GET /health HTTP/1.1\\r\\n\"); kept.append(s)\n  \
                except OSError: break\nopen(\"/tmp/held\",\"w\").write(str(len(kept)))\ntime.sleep(1000)";
    start(&host.runtime, &id, User::User, &format!("python3 -c '{hold}'")).await;
    for _ in 0..20 {
        assert_well(&host, &id).await;
    }
    let mut held = String::new();
    eventually("all were opened", async || {
        held = host.run(&id, User::User, "cat /tmp/held").await.stdout;
        !held.is_empty()
    })
    .await;
    assert!(held.trim().parse::<u32>().unwrap() > 1024, "{held}");
    assert_well(&host, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_own_what_they_make_and_have_their_groups() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    host.run(
        &id,
        User::Root,
        "echo extra:x:4321:user >> /etc/group; echo odd:x:4242:4243::/tmp:/bin/sh >> /etc/passwd",
    )
    .await;
    let ran = host.run(&id, User::User, "id -u; id -g; id -G; touch made; stat -c %U:%G made").await;
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!((lines[0], lines[1], lines[3]), ("1000", "1000", "user:user"), "{ran:?}");
    assert!(lines[2].split(' ').any(|group| group == "4321"), "{ran:?}");
    assert_eq!(upload(&host.runtime, &id, "new/dir/file", b"x".to_vec()).await.0, 200);
    let root = upload(&host.runtime, &id, "of-root&username=root", b"x".to_vec()).await;
    assert!(root.0 == 200 && root.1.contains("/root/of-root"), "{root:?}");
    let odd = upload(&host.runtime, &id, "of-odd&username=odd", b"x".to_vec()).await;
    assert!(odd.0 == 200 && odd.1.contains("/tmp/of-odd"), "{odd:?}");
    let stat = "stat -c %U:%G:%a new new/dir new/dir/file /tmp/of-odd; ls /root 2>&1";
    let ran = host.run(&id, User::User, stat).await;
    let owned = "user:user:755\nuser:user:755\nuser:user:644\nodd:UNKNOWN:644\n";
    assert!(ran.stdout.starts_with(owned), "{ran:?}");
    assert_eq!(host.run(&id, User::Root, "stat -c %U:%G /root/of-root").await.stdout, "root:root\n");
    let (status, body) = upload(&host.runtime, &id, "x&username=ghost", b"x".to_vec()).await;
    assert!(status == 401 && body.contains("invalid username: 'ghost'"), "{body}");
}
