//! What programs inside take of the kernel's shared memory is bounded: see `docs/security/kernel-pools.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use std::time::Duration;

use sandscope_engine::{Engine as _, Found, FoundState, Notice};
use sandscope_model::{Cause, Exit, SandboxId};
use support::{Host, User, start};
use tokio::sync::mpsc;

/// Fills one pool each, by name.
const ATTACKS: &str = include_str!("attacks/pools.py");

/// Begins an attack on a pool, as the ordinary user.
async fn begin(host: &Host, id: &SandboxId, pool: &str, most: u32) {
    let octets = [("content-type", "application/octet-stream")];
    let path = "/files?path=/tmp/pools.py";
    let (status, _) = support::ask(&host.runtime, id, "POST", path, &octets, ATTACKS.into()).await;
    assert_eq!(status, 200);
    let script = format!("exec python3 /tmp/pools.py {pool} {most} > /tmp/{pool} 2>&1");
    start(&host.runtime, id, User::User, &script).await;
}

/// What an attack on a pool got, and why no more.
async fn attack(host: &Host, id: &SandboxId, pool: &str, most: u32) -> String {
    begin(host, id, pool, most).await;
    let read = format!("until grep -s -e ^holds -e Error /tmp/{pool}; do sleep 0.05; done");
    host.run(id, User::User, &read).await.stdout.trim().to_owned()
}

/// The kernel compiles filters in a pool of the whole host: a process has room for 2,048 instructions.
#[tokio::test(flavor = "multi_thread")]
async fn own_filters_of_a_process_are_few() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let got = attack(&host, &id, "seccomp_filters_of_one_process", 1000).await;
    assert_eq!(got, "holds 2: [Errno 12] Cannot allocate memory", "filters of 1,000 instructions");
    // Filters that would outlive the process that installed them.
    let got = attack(&host, &id, "seccomp_listener", 1000).await;
    assert_eq!(got, "holds 0: [Errno 1] Operation not permitted");
    let status =
        host.run(&id, User::User, "grep -c ^Seccomp: /proc/self/status; (exec true) && echo runs").await;
    assert_eq!(status.stdout, "1\nruns\n", "{status:?}");
}

/// What the kernel keeps for these is charged to nobody, however many there are.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_is_charged_for_is_refused_or_small() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    for (pool, expected) in [
        ("socket_filter", "holds 0: [Errno 1] Operation not permitted"),
        ("keyed_socket", "holds 0: [Errno 1] Operation not permitted"),
        ("flow_label", "holds 0: [Errno 1] Operation not permitted"),
        ("membership6", "holds 0: [Errno 1] Operation not permitted"),
        ("memberships_of_one", "holds 0: [Errno 105] No buffer space available"),
        ("policies", "holds 0: [Errno 38] Function not implemented"),
        ("named_area", "holds 0: [Errno 1] Operation not permitted"),
        ("other_protocol", "holds 0: [Errno 1] Operation not permitted"),
        ("line_discipline", "holds 0: [Errno 1] Operation not permitted"),
    ] {
        assert_eq!(attack(&host, &id, pool, 100).await, expected, "{pool}");
    }
    let script = "cd /proc/sys/net; cat ipv4/{ip_unprivileged_port_start,tcp_max_tw_buckets,ipfrag_high_thresh} \
                  ipv6/ip6frag_high_thresh; (echo 1 > ipv4/tcp_max_tw_buckets) 2>/dev/null || echo kept";
    let ran = host.run(&id, User::Root, script).await;
    assert_eq!(ran.stdout, "0\n8192\n1048576\n1048576\nkept\n", "{ran:?}");
}

/// What ordinary programs do with the same calls goes on working.
#[tokio::test(flavor = "multi_thread")]
async fn ordinary_uses_of_the_same_calls_work() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let script = "import socket, ctypes, struct, fcntl, tty, pty, os\n\
        s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n\
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1); s.bind((\"127.0.0.1\", 0)); s.listen()\n\
        s6 = socket.socket(socket.AF_INET6); s6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)\n\
        u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.setsockopt(0, socket.IP_TTL, 9)\n\
        m = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262); m.close()\n\
        n = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); n.setsockopt(270, 3, 1)\n\
        c = ctypes.CDLL(None, use_errno=True)\n\
        assert c.prctl(15, b\"name\", 0, 0, 0) == 0\n\
        assert c.syscall(238, 0, 0, 0) == 0, \"set_mempolicy\"\n\
        assert c.syscall(317, 2, 0, ctypes.byref(ctypes.c_uint32(0x7fff0000))) == 0, \"seccomp\"\n\
        a, b = pty.openpty(); tty.setraw(a); print(\"works\", len(socket.getaddrinfo(\"localhost\", 80)) > 0)";
    let ran = host.run(&id, User::User, &format!("python3 -c '{script}'")).await;
    assert_eq!(ran.stdout, "works True\n", "{ran:?}");
}

/// `sync` would write out everybody's files. An argument that the kernel would refuse shows that it is not asked.
#[tokio::test(flavor = "multi_thread")]
async fn sync_inside_is_not_the_hosts() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let script = "import ctypes, os\n\
        c = ctypes.CDLL(None, use_errno=True)\n\
        print(c.syscall(162), c.syncfs(-1), c.fsync(-1))\n\
        f = open(\"/tmp/f\", \"w\"); f.write(\"x\"); f.flush(); os.fsync(f.fileno()); print(os.fdatasync(f.fileno()))";
    let ran = host.run(&id, User::User, &format!("python3 -c '{script}'; sync; echo $?")).await;
    assert_eq!(ran.stdout, "0 0 -1\nNone\n0\n", "{ran:?}");
}

/// The end of `id`: an attack is as fast as the machine is.
async fn ended_at_last(notices: &mut mpsc::Receiver<Notice>, id: &SandboxId) -> Exit {
    match tokio::time::timeout(Duration::from_secs(100), notices.recv()).await.unwrap().unwrap() {
        Notice::Ended { id: of, exit } if of == *id => exit,
        other => panic!("{other:?}"),
    }
}

/// Each sandbox ends for what it took, and a neighbour that does a little of the same lives on.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_the_kernels_memory_ends_with_its_cause() {
    let start = Host::start_with(|options| options.kernel_memory_bytes = 24 << 20);
    let Some(host) = start.await else { return };
    let mut notices = host.runtime.take_notices().unwrap();
    let told = host.runtime.kernel_memory();
    let neighbour = host.create().await;
    for pool in ["posix_locks", "ofd_locks", "netlink_answers", "corked_datagrams", "epolls"] {
        let most = if pool == "netlink_answers" { 1 } else { 100 };
        let got = attack(&host, &neighbour, pool, most).await;
        assert_eq!(got, format!("holds {most}: as many as asked for"));
    }
    for (n, (pool, cause)) in [
        ("posix_locks", Cause::FileLocks),
        ("ofd_locks", Cause::FileLocks),
        ("netlink_answers", Cause::SocketBuffers),
        ("corked_datagrams", Cause::SocketBuffers),
        ("epolls", Cause::OpenFiles),
    ]
    .into_iter()
    .enumerate()
    {
        let mut spec = host.spec();
        spec.memory_mb = 512;
        host.runtime.create(&spec).await.unwrap();
        begin(&host, &spec.id, pool, 1 << 30).await;
        let exit = ended_at_last(&mut notices, &spec.id).await;
        assert_eq!(exit.cause, Some(cause), "{pool}: {exit:?}");
        assert_eq!(told.borrow().n_ended, n as u64 + 1);
        host.runtime.kill(&spec.id).await.unwrap();
    }
    assert_eq!(host.run(&neighbour, User::User, "echo lives").await.stdout, "lives\n");
    assert!(notices.try_recv().is_err());
}

/// A server that is killed before it has recorded the death finds its cause when it starts again.
#[tokio::test(flavor = "multi_thread")]
async fn the_cause_outlives_the_server() {
    let start = Host::start_with(|options| options.kernel_memory_bytes = 16 << 20);
    let Some(host) = start.await else { return };
    let id = host.create().await;
    begin(&host, &id, "posix_locks", 1 << 30).await;
    let mut told = host.runtime.kernel_memory();
    let ended = told.wait_for(|told| told.n_ended == 1);
    tokio::time::timeout(Duration::from_secs(100), ended).await.unwrap().unwrap();
    let Host { runtime, state } = host;
    runtime.shutdown().await;
    drop(runtime);
    let runtime = state.runtime().await;
    let found = runtime.recover().await.unwrap();
    let [Found { id: of, state: FoundState::Dead(exit) }] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((of, exit.cause), (&id, Some(Cause::FileLocks)));
    runtime.kill(&id).await.unwrap();
    runtime.shutdown().await;
}
