//! Each line of the hardening list, tried from inside a real sandbox by its root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use std::os::unix::fs::PermissionsExt as _;

use sandscope_engine::Engine as _;
use sandscope_model::SandboxId;
use support::{Host, User, counters};

/// Runs a script as the sandbox's root and gives what it printed.
async fn as_root(host: &Host, id: &SandboxId, script: &str) -> String {
    let ran = host.run(id, User::Root, script).await;
    ran.stdout + &ran.stderr
}

/// Makes a system call, by number, from a Python that everybody may run; prints `ok` or the error's name.
fn system_call(name_and_arguments: &str) -> String {
    format!(
        "python3 -c 'import ctypes,errno; c=ctypes.CDLL(None,use_errno=True); r=c.syscall({name_and_arguments}); \
         print(\"ok\" if r>=0 else errno.errorcode[ctypes.get_errno()])'"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_few_and_never_grow() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let status = as_root(&host, &id, "cat /proc/1/status /proc/self/status").await;
    for line in [
        "CapBnd:\t00000000000404eb",
        "CapInh:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert_eq!(status.matches(line).count(), 2, "{line}\n{status}");
    }
    // The agent's one more sets it apart, and no program has it.
    for line in ["CapPrm:\t00000000001404eb", "CapPrm:\t00000000000404eb"] {
        assert_eq!(status.matches(line).count(), 1, "{line}\n{status}");
    }
    let user = host.run(&id, User::User, "grep CapEff /proc/self/status; su -c id; sudo -n id; id -u").await;
    assert!(user.stdout.starts_with("CapEff:\t0000000000000000"), "{user:?}");
    assert!(user.stdout.ends_with("1000\n"), "{user:?}");
    // No set-user-ID program of the base works, and none can be made.
    let script = "cp /bin/bash /tmp/b && chmod 4755 /tmp/b; chmod 4755 /tmp/b";
    as_root(&host, &id, script).await;
    let ran = host.run(&id, User::User, "/tmp/b -p -c 'id -u'").await;
    assert_eq!(ran.stdout, "1000\n", "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dangerous_system_calls_are_refused() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    for (what, call) in [
        ("mount", "165,0,0,0,0,0"),
        ("umount2", "166,b\"/proc\",2"),
        ("pivot_root", "155,b\"/\",b\"/\""),
        ("fsopen", "430,b\"tmpfs\",0"),
        ("open_tree", "428,-100,b\"/\",1"),
        ("move_mount", "429,-100,b\"/\",-100,b\"/tmp\",0"),
        ("mount_setattr", "442,-100,b\"/\",0,0,0"),
        ("unshare user", "272,0x10000000"),
        ("setns", "308,0,0"),
        ("clone with a user namespace", "56,0x10000011,0,0,0,0"),
        ("bpf", "321,0,0,0"),
        ("perf_event_open", "298,0,0,-1,-1,0"),
        ("userfaultfd", "323,0"),
        ("io_uring_setup", "425,1,0"),
        ("keyctl", "250,0,0"),
        ("add_key", "248,b\"user\",b\"a\",b\"b\",1,0"),
        ("request_key", "249,b\"user\",b\"a\",0,0"),
        ("kexec_load", "246,0,0,0,0"),
        ("init_module", "175,0,0,b\"\""),
        ("delete_module", "176,b\"a\",0"),
        ("open_by_handle_at", "304,0,0,0"),
        ("clock_settime", "227,0,0"),
        ("reboot", "169,0,0,0,0"),
        ("syslog", "103,3,0,0"),
        ("swapon", "167,b\"/x\",0"),
        ("fanotify_init", "300,0,0"),
        ("a packet socket", "41,17,3,0"),
        ("a virtual machine's socket", "41,40,1,0"),
        ("a crypto socket", "41,38,5,0"),
        ("a netfilter socket", "41,16,3,12"),
        ("a generic netlink socket", "41,16,3,16"),
        ("a device events socket", "41,16,3,15"),
        ("an odd personality", "135,0x0400000"),
        ("iopl", "172,3"),
        ("a call nobody knows", "999"),
    ] {
        let answer = as_root(&host, &id, &system_call(call)).await;
        assert_eq!(answer, "EPERM\n", "{what}");
    }
    assert_eq!(as_root(&host, &id, &system_call("435,0,0")).await, "ENOSYS\n", "clone3");
    assert_eq!(as_root(&host, &id, &system_call("206,1,0")).await, "ENOSYS\n", "io_setup");
    let audit = as_root(&host, &id, &system_call("41,16,3,9")).await;
    assert_eq!(audit, "EPROTONOSUPPORT\n", "an audit socket, as where there is no audit");
    assert_eq!(as_root(&host, &id, &system_call("41,16,3,0")).await, "ok\n", "a socket for routes");
    assert_eq!(as_root(&host, &id, &system_call("41,2,1,0")).await, "ok\n", "an ordinary socket");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernels_files_give_nothing_away_and_change_nothing() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    for file in ["kcore", "keys", "timer_list", "kallsyms", "kmsg", "sysrq-trigger"] {
        let script = format!(
            "[ -e /proc/{file} ] || exit 0; head -c 100 /proc/{file}; [ $(stat -c %s /proc/{file}) = 0 ] || echo bare"
        );
        let read = as_root(&host, &id, &script).await;
        assert!(read.is_empty(), "/proc/{file}: {read}");
    }
    for file in ["notes", "vmcoreinfo"] {
        let read = as_root(&host, &id, &format!("cat /sys/kernel/{file} 2>/dev/null | wc -c")).await;
        assert_eq!(read, "0\n", "/sys/kernel/{file}");
    }
    for dir in ["/proc/acpi", "/proc/scsi", "/sys/firmware", "/sys/kernel/debug", "/sys/module"] {
        let listed = as_root(&host, &id, &format!("[ -e {dir} ] && ls -A {dir}")).await;
        assert_eq!(listed, "", "{dir}");
    }
    for file in
        ["/proc/sys/kernel/core_pattern", "/proc/sys/vm/panic_on_oom", "/proc/irq/default_smp_affinity"]
    {
        let ran = host.run(&id, User::Root, &format!("echo 1 > {file}")).await;
        assert!(ran.code != 0, "{file} can be written");
    }
    let written = host.run(&id, User::Root, "echo x > /sys/power/state").await;
    assert!(written.code != 0);
    // What is read-only must be so for each mount, not only by its options' look.
    let mounts = as_root(&host, &id, "cat /proc/self/mountinfo").await;
    for at in ["/sys", "/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/pressure"] {
        if !std::path::Path::new(at).exists() {
            continue;
        }
        let line =
            mounts.lines().find(|line| line.split(' ').nth(4) == Some(at)).unwrap_or_else(|| panic!("{at}"));
        assert!(line.split(' ').nth(5).unwrap().starts_with("ro,nosuid,nodev,noexec"), "{line}");
    }
    assert!(!mounts.contains(" shared:"), "a mount propagates: {mounts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_harmless_devices_are_there() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let listed = as_root(&host, &id, "ls /dev | sort | tr '\\n' ' '").await;
    let meant = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero ";
    assert_eq!(listed, meant);
    let made = host.run(&id, User::Root, "mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk").await;
    assert!(made.code != 0, "{made:?}");
    let works = "echo x > /dev/null && head -c 2 /dev/zero | wc -c && head -c 3 /dev/urandom | wc -c && \
                 python3 -c 'import os,pty; os.close(pty.openpty()[0]); print(\"pty\")' && touch /dev/shm/x";
    assert_eq!(as_root(&host, &id, works).await, "2\n3\npty\n");
    // All of the host's sandboxes draw terminals from one pool.
    let many = "python3 -c 'import os\nkept=[]\ntry:\n  while len(kept)<1000: kept.append(os.open(\"/dev/ptmx\",2))\n\
                except OSError: pass\nprint(len(kept))'";
    assert_eq!(as_root(&host, &id, many).await, "256\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_are_counted_for_each_sandbox_and_not_for_the_host() {
    let Some(host) = Host::start().await else { return };
    let (greedy, other) = (host.create().await, host.create().await);
    let limit: usize =
        std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").unwrap().trim().parse().unwrap();
    // Until the kernel gives no more, as several of its users, who keep what they have.
    let script = "cat > /tmp/take.py <<'END'\nimport ctypes,os,sys,time\nos.setuid(int(sys.argv[1]))\nc=ctypes.CDLL(None)\n\
                  n=0\nwhile n<20000 and c.inotify_init1(0)>=0: n+=1\nprint(n,flush=True)\nos.close(1)\nos.close(2)\n\
                  time.sleep(1000)\nEND\nfor u in 1001 1002 0; do python3 /tmp/take.py $u & sleep 1; done";
    let taken = as_root(&host, &greedy, script).await;
    let taken: usize = taken.lines().map(|line| line.parse::<usize>().unwrap()).sum();
    assert!(taken <= limit, "{taken} of {limit}");
    let watch = "python3 -c 'import ctypes; print(ctypes.CDLL(None).inotify_init1(0) >= 0)'";
    if taken == limit {
        assert_eq!(as_root(&host, &greedy, watch).await, "False\n", "its own are used up");
    }
    assert_eq!(as_root(&host, &other, watch).await, "True\n");
    let ours = rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC);
    assert!(ours.is_ok(), "the host's root has none left: {ours:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_host_is_visible() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let names = as_root(&host, &id, "ls -A / | sort | tr '\\n' ' '").await;
    for private in ["work", "old_root", "lost+found", ".dockerenv"] {
        assert!(!names.split(' ').any(|name| name == private), "{names}");
    }
    let empty = as_root(&host, &id, "ls -A /home /mnt /media /srv /opt /var/log; ls -A /root").await;
    assert!(!empty.contains("pyenv") && !empty.contains(".cargo"), "{empty}");
    assert_eq!(as_root(&host, &id, "cat /etc/shadow /etc/ssh/* /etc/machine-id 2>/dev/null").await, "");
    let state = host.state.dir.path().to_str().unwrap();
    let seen = as_root(&host, &id, "cat /proc/self/mountinfo /proc/mounts /proc/1/environ; env").await;
    assert!(!seen.contains(state) && !seen.contains("CARGO"), "{seen}");
    // Its own processes and nobody else's; no descriptors, no terminal, no session of the host.
    let processes = as_root(&host, &id, "ls /proc | grep -c '^[0-9]*$'").await;
    assert!(processes.trim().parse::<u32>().unwrap() < 10, "{processes}");
    let pid = support::init_pid(host.state.dir.path(), &id);
    for fd in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let Ok(held) = std::fs::read_link(fd.unwrap().path()) else { continue };
        let held = held.to_string_lossy().into_owned();
        let own = ["socket:", "pipe:", "anon_inode:", "/dev/null"].iter().any(|kind| held.starts_with(kind));
        assert!(own, "PID 1 holds {held}");
    }
    let refused = as_root(&host, &id, "head -c 1 /proc/1/mem; ls /proc/1/fd/3/").await;
    assert_eq!(refused.matches("ermission denied").count(), 2, "the agent can be looked into: {refused}");
    assert_eq!(as_root(&host, &id, "cut -d' ' -f7 /proc/1/stat").await, "0\n", "a controlling terminal");
    assert!(as_root(&host, &id, "ls /sys/class/net").await.trim() == "lo");
    let groups = as_root(&host, &id, "cut -d: -f3 /proc/1/cgroup | sort -u").await;
    assert_eq!(groups, "/\n", "its own groups are the roots of what it sees");
}

#[tokio::test(flavor = "multi_thread")]
async fn root_inside_is_nobody_outside() {
    let Some(host) = Host::start().await else { return };
    let (first, second) = (host.create().await, host.create().await);
    let base = async |id: &SandboxId| {
        let map = as_root(&host, id, "cat /proc/self/uid_map").await;
        let numbers: Vec<u32> = map.split_whitespace().map(|number| number.parse().unwrap()).collect();
        let [0, base, 65_536] = numbers.as_slice() else { panic!("{map}") };
        *base
    };
    let (one, other) = (base(&first).await, base(&second).await);
    assert!(one >= 0x7000_0000 && other >= 0x7000_0000 && one.abs_diff(other) >= 65_536, "{one} {other}");
    let pid = support::init_pid(host.state.dir.path(), &first);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains(&format!("Uid:\t{one}\t{one}\t{one}\t{one}")), "{status}");
    // The base belongs to the sandbox's root, and is changed only in its own layer.
    let ran = host
        .run(&first, User::Root, "rm /usr/bin/env && echo mine > /usr/bin/mine && stat -c %u /usr/bin/mine")
        .await;
    assert_eq!(ran.stdout, "0\n", "{ran:?}");
    assert!(std::path::Path::new("/usr/bin/env").exists() && !std::path::Path::new("/usr/bin/mine").exists());
    assert_eq!(as_root(&host, &second, "ls /usr/bin/env").await, "/usr/bin/env\n");
    let mode = std::fs::metadata(host.state.dir.path().join("sandboxes")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "the images are the host's alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold() {
    let Some(host) = Host::start().await else { return };
    let mut spec = host.spec();
    spec.memory_mb = 64;
    host.runtime.create(&spec).await.unwrap();
    let id = spec.id;
    let limits = as_root(&host, &id, "ulimit -c; ulimit -r; ulimit -l").await;
    assert_eq!(limits, "0\n0\n64\n");
    // At zero a crash would start the host's program for core dumps, if it has one.
    let script = "ulimit -c 0 && python3 -c 'import resource as r; r.setrlimit(r.RLIMIT_CORE, (0, 0))' && \
                  grep core /proc/1/limits /proc/self/limits | tr -s ' ' | cut -d' ' -f5-6";
    assert_eq!(as_root(&host, &id, script).await, "1 1\n1 1\n");
    let eaten = host.run(&id, User::User, "python3 -c 'x=bytearray(200<<20)'").await;
    assert!(eaten.code != 0, "{eaten:?}");
    assert!(
        counters(&host.runtime, &id).await.unwrap().n_oom_kills >= 1,
        "the out-of-memory kill is counted"
    );

    let mut spec = host.spec();
    spec.memory_mb = 1024;
    host.runtime.create(&spec).await.unwrap();
    let forks = "for i in $(seq 1500); do sleep 60 & done; echo unlimited";
    let forked = host.run(&spec.id, User::User, forks).await;
    assert!(!forked.stdout.contains("unlimited"), "{forked:?}");
    assert!(counters(&host.runtime, &spec.id).await.unwrap().n_pids <= 1024);
    assert!(host.runtime.kill(&spec.id).await.unwrap().is_some());
    host.runtime.kill(&id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_files_reach_nothing_of_the_host() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let script = "cd /home/user; ln -s /etc/shadow link; mkfifo pipe; touch $'new\\nline' $'\\xff'; \
                  ln -s ../../../../../../../../etc/passwd up; cat up | head -1; ls /proc/1/root/ | grep -c work";
    let ran = host.run(&id, User::User, script).await;
    assert_eq!(ran.stdout.lines().next(), Some("root:x:0:0:root:/root:/bin/bash"), "{ran:?}");
    // Checkpoint and kill touch the layer as a disk image only: a pipe nobody writes to cannot hold them up.
    let build = sandscope_model::BuildId::generate(&support::Random);
    host.runtime.capture(&id, build).await.unwrap();
    host.runtime.kill(&id).await.unwrap();
}
