//! What stays inside when its makers have ended leaves room for the agent: see `docs/security/kernel-pools.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use std::path::Path;

use sandscope_engine_namespaces::linux::WarmOptions;
use sandscope_model::SandboxId;
use support::{Host, User, ask, counters};

/// Takes one kind each, by name.
const ATTACKS: &str = include_str!("attacks/kept.py");

async fn bring_attacks(host: &Host, id: &SandboxId) {
    let octets = [("content-type", "application/octet-stream")];
    let path = "/files?path=/tmp/kept.py";
    assert_eq!(ask(&host.runtime, id, "POST", path, &octets, ATTACKS.into()).await.0, 200);
}

/// Runs an attack to its end, then the same with little memory of its own, and then commands that need some.
async fn attack(host: &Host, id: &SandboxId, kind: &str) {
    let ran = host.run(id, User::User, &format!("exec python3 /tmp/kept.py {kind}")).await;
    let rest = "i=0; while : > /dev/shm/last-$i; do i=$((i+1)); done 2>/dev/null; echo $i";
    let rest = host.run(id, User::User, rest).await;
    eprintln!("{kind}: {} {}, then {} {}", ran.stdout.trim(), ran.code, rest.stdout.trim(), rest.code);
    for _ in 0..5 {
        let ran = host.run(id, User::User, "head -c 3000000 /dev/zero | tail -c 1 | wc -c").await;
        assert_eq!(ran.stdout, "1\n", "{kind}: {ran:?}");
    }
    let counters = counters(&host.runtime, id).await.unwrap();
    let used = counters.memory_current_bytes - counters.memory_reclaimable_bytes;
    let limit = 128_u64 << 20;
    eprintln!("{kind}: {} MiB", used >> 20);
    assert!(used < limit / 10 * 9, "{kind}: {used} of {limit}");
}

async fn kinds(host: &Host, id: &SandboxId) -> Vec<String> {
    bring_attacks(host, id).await;
    let list = host.run(id, User::User, "python3 /tmp/kept.py --list").await.stdout;
    list.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_left_behind_commands_run() {
    let Some(host) = Host::start().await else { return };
    // One after the other, and nothing is taken away in between.
    let id = host.create().await;
    for kind in kinds(&host, &id).await {
        attack(&host, &id, &kind).await;
    }
    // Each with everything for itself: what another has taken it cannot take.
    for kind in ["small_messages", "attributes", "links", "directories", "empty_files"] {
        let id = host.create().await;
        bring_attacks(&host, &id).await;
        attack(&host, &id, kind).await;
    }
}

/// By size in MiB: also of one that was made ahead.
#[tokio::test(flavor = "multi_thread")]
async fn the_bounds_follow_the_memory_and_stay() {
    let warm = WarmOptions { n: 1, memory_mb: 256, disk_mb: 64 };
    let Some(host) = Host::start_with(|options| options.warm = Some(warm)).await else { return };
    for (memory_mb, shm, queues, semaphores, inodes) in [
        (128, 64 << 20, 8, 8192, 6144),
        (256, 128 << 20, 16, 16_384, 12_288),
        (512, 256 << 20, 32, 32_000, 24_576),
    ] {
        let mut spec = host.spec();
        spec.memory_mb = memory_mb;
        sandscope_engine::Engine::create(&host.runtime, &spec).await.unwrap();
        let read = "cd /proc/sys/kernel; cat shm_rmid_forced shmmax shmall msgmni msgmnb msgmax; tr '\\t' ' ' < sem; \
                    stat -f -c %c /dev/shm; cat /proc/sys/fs/mqueue/queues_max";
        let ran = host.run(&spec.id, User::User, read).await;
        let pages = shm / 4096;
        let wanted =
            format!("1\n{shm}\n{pages}\n{queues}\n16384\n8192\n250 {semaphores} 500 1024\n{inodes}\n256\n");
        assert_eq!(ran.stdout, wanted, "{ran:?}");
        let change = "cd /proc/sys; for f in kernel/{shm_rmid_forced,shmmax,shmall,msgmni,msgmnb,msgmax,sem} \
                      fs/mqueue/queues_max; do (echo 1 > $f) 2>/dev/null && echo changed $f; done; \
                      mount -o remount,size=100% /dev/shm 2>/dev/null && echo grown; true";
        assert_eq!(host.run(&spec.id, User::Root, change).await.stdout, "");
        sandscope_engine::Engine::kill(&host.runtime, &spec.id).await.unwrap();
    }
    let ran = host.create().await;
    let inodes = "stat -f -c %c /run /dev | awk '{print $1 < 10000}'";
    assert_eq!(host.run(&ran, User::User, inodes).await.stdout, "1\n1\n");
    // What was made ahead goes as well.
    host.runtime.shutdown().await;
}

/// What programs do with the same calls.
#[tokio::test(flavor = "multi_thread")]
async fn ordinary_uses_of_shared_memory_work() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    // A database's: a segment that its children attach to and outlives the maker's own attachment, and sets of 19.
    let database = "import ctypes, os\n\
        l = ctypes.CDLL(None, use_errno=True); l.shmat.restype = ctypes.c_void_p\n\
        i = l.shmget(0x5432, 56, 0o1600); p = l.shmat(i, None, 0); ctypes.memmove(p, b\"held\", 5)\n\
        s = [l.semget(0, 19, 0o1600) for _ in range(20)]\n\
        r, w = os.pipe()\n\
        if os.fork() == 0:\n \
         l.shmdt(ctypes.c_void_p(p)); q = l.shmat(l.shmget(0x5432, 56, 0), None, 0)\n \
         os.write(w, ctypes.string_at(q)); os._exit(0)\n\
        print(os.read(r, 9).decode(), min(s) >= 0); os.wait()";
    assert_eq!(host.run(&id, User::User, &format!("python3 -c '{database}'")).await.stdout, "held True\n");
    // Workers': semaphores and memory by name, queues.
    let workers = "import multiprocessing as m\nfrom multiprocessing import shared_memory as s\n\
        def work(name, lock, queue):\n \
         with lock:\n  \
          a = s.SharedMemory(name); a.buf[0] += 1; a.close()\n \
         queue.put(1)\n\
        a = s.SharedMemory(create=True, size=8 << 20); lock = m.Lock(); queue = m.Queue()\n\
        p = [m.Process(target=work, args=(a.name, lock, queue)) for _ in range(3)]\n\
        [x.start() for x in p]; [x.join() for x in p]\n\
        print(a.buf[0], sum(queue.get() for _ in p)); a.close(); a.unlink()";
    assert_eq!(host.run(&id, User::User, &format!("python3 -c '{workers}'")).await.stdout, "3 3\n");
    // A browser's: many files, and large ones.
    let browser = "cd /dev/shm; for i in $(seq 3000); do echo x > f$i; done; head -c 30M /dev/zero > large && ls | wc -l";
    assert_eq!(host.run(&id, User::User, browser).await.stdout, "3001\n");
    if Path::new("/usr/bin/ipcmk").exists() {
        // Queues and semaphores stay, as anywhere; memory goes with the last who has it.
        let tools = "ipcmk -M 4096 -Q -S 5 | wc -l; for kind in q s m; do ipcs -$kind | grep -c ^0x; done";
        let id = host.create().await;
        assert_eq!(host.run(&id, User::User, tools).await.stdout, "3\n1\n1\n0\n");
        assert_eq!(host.run(&id, User::User, "ipcs -l | grep -c 'max'").await.code, 0);
    } else {
        eprintln!("SKIPPED, not on this host: ipcmk");
    }
}
