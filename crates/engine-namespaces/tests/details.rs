//! What the kernel says about real sandboxes.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test stops at the unexpected and says why it skips"
)]

mod support;

use sandscope_engine::{Depth, Engine as _, Readings as _, Wanted};
use sandscope_engine_namespaces::linux::NamespacesEngine;
use sandscope_model::{Details, MetricField as F, SandboxId, Values};
use support::{Host, User, eventually};

const MIB: u64 = 1 << 20;

async fn details(runtime: &NamespacesEngine, id: &SandboxId) -> Details {
    runtime.details(id).await.unwrap()
}

/// What only stored samples hold.
async fn stored(runtime: &NamespacesEngine, id: &SandboxId) -> Values {
    let mut readings = runtime.read(vec![Wanted { id: id.clone(), depth: Depth::Stored }]).await;
    readings.pop().unwrap().1.unwrap().counters.more
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_is_told_about_in_full() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let before = details(&host.runtime, &id).await;
    let more_before = stored(&host.runtime, &id).await;
    let script = "dd if=/dev/zero of=/home/user/file bs=1M count=16 conv=fsync 2>/dev/null
                  for i in 1 2 3 4 5; do touch /home/user/empty$i; done; sync -f /home/user/file
                  i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
    assert_eq!(host.run(&id, User::User, script).await.code, 0);
    let after = details(&host.runtime, &id).await;
    let more = stored(&host.runtime, &id).await;

    let written = |details: &Details| details.disk_traffic.unwrap().written_bytes;
    let grown = written(&after) - written(&before);
    assert!((16 * MIB..24 * MIB).contains(&grown), "{grown} bytes written for 16 MiB");
    assert!(after.disk_traffic.unwrap().n_writes > before.disk_traffic.unwrap().n_writes);
    assert!(before.disk.available_bytes - after.disk.available_bytes >= 16 * MIB);
    assert!(before.disk.n_inodes_free - after.disk.n_inodes_free >= 6, "{before:?} {after:?}");
    assert!(after.disk.n_inodes > 0 && after.disk.total_bytes > 32 * MIB);

    let added = |field| more.get(field).unwrap() - more_before.get(field).unwrap();
    assert!((16 * MIB..24 * MIB).contains(&added(F::DiskWritten)) && added(F::DiskWrites) > 0, "{more:?}");
    assert_eq!(added(F::NetReceived), 0, "the loopback does not count");
    assert_eq!(more.get(F::CpuThrottled).is_some(), after.cpu.throttled_usec.is_some());
    assert_eq!(more.get(F::CpuStalled).is_some(), after.pressures.cpu.is_some());
    assert_eq!(more.get(F::IoStalledFull).is_some(), after.pressures.io.is_some());
    assert_eq!(more.get(F::OpenFiles).is_some(), after.n_open_files.is_some());

    assert!(after.cpu.usage_usec.unwrap() > before.cpu.usage_usec.unwrap());
    assert!(after.cpu.user_usec.is_some() && after.cpu.system_usec.is_some());
    assert!(after.cpu.n_periods.is_some() && after.cpu.throttled_usec.is_some());
    assert!(after.memory.peak_bytes.unwrap() >= after.memory.current_bytes.unwrap());
    assert!(after.memory.anon_bytes.unwrap() > 0 && after.memory.file_bytes.is_some());
    assert_eq!(after.memory.n_oom_kills, Some(0));
    assert!(after.n_pids.unwrap() >= 1 && after.max_pids.unwrap() >= after.n_pids.unwrap());
    if rustix::system::uname().release().to_bytes() >= &b"6.2"[..] {
        assert!(after.n_open_files.unwrap() > 0);
    }
    let interfaces = after.interfaces.unwrap();
    let lo = interfaces.iter().find(|interface| interface.name == "lo").unwrap();
    assert!(lo.received.n_bytes > 1_000 && lo.received.n_packets > 0, "the script came in this way: {lo:?}");
    assert!(
        interfaces.iter().all(|interface| interface.name != "eth0"),
        "those are the sandbox's, not the host's"
    );
    host.runtime.kill(&id).await.unwrap();
    host.runtime.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_go_on_where_they_were_after_a_restart_of_the_server() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let script = "dd if=/dev/zero of=/home/user/file bs=1M count=4 conv=fsync 2>/dev/null";
    host.run(&id, User::User, script).await;
    let before = details(&host.runtime, &id).await;
    host.runtime.shutdown().await;
    let Host { runtime, state } = host;
    drop(runtime);
    let runtime = state.runtime().await;
    runtime.recover().await.unwrap();
    let after = details(&runtime, &id).await;
    let (then, now) = (before.disk_traffic.unwrap(), after.disk_traffic.unwrap());
    assert!(now.written_bytes >= then.written_bytes && now.written_bytes < then.written_bytes + 8 * MIB);
    assert!(after.cpu.usage_usec.unwrap() >= before.cpu.usage_usec.unwrap());
    runtime.kill(&id).await.unwrap();
    runtime.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_are_listed_by_their_inner_numbers_whatever_they_call_themselves() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let script = "printf 'a) R \\n\\033[2J' > /proc/self/comm; (printf 'x\\ny' > /proc/$BASHPID/comm; exec -a q sleep 300) \
                  >/dev/null 2>&1 & echo $!";
    let ran = host.run(&id, User::User, script).await;
    let pid: i32 = ran.stdout.trim().parse().unwrap();
    eventually("it sleeps", async || {
        host.runtime
            .processes(&id)
            .await
            .unwrap()
            .iter()
            .any(|process| process.pid == pid && process.name == b"sleep")
    })
    .await;
    let processes = host.runtime.processes(&id).await.unwrap();
    let first = processes.iter().find(|process| process.pid == 1).expect("the agent");
    assert_ne!(first.host_pid, 1);
    assert!(first.rss_bytes > 0 && first.n_threads >= 1);
    host.runtime.pause(&id).await.unwrap();
    assert_eq!(host.runtime.processes(&id).await.unwrap().len(), processes.len());
    host.runtime.kill(&id).await.unwrap();
    host.runtime.shutdown().await;
}
