//! What the kernel's own file systems tell a sandbox: everything about itself, nothing about the host or a neighbour.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use sandscope_engine::Engine as _;
use sandscope_model::SandboxId;
use support::{Host, User};

/// Reads every file of `/proc` and `/sys`, and says which hold one of the words (also in a name or a link). They come
/// in hexadecimal, or the reader's own arguments would hold them.
const SEARCH: &str = r#"
import os, re, sys
words = [bytes.fromhex(word) for word in sys.argv[1].split(",")]
wanted = re.compile(b"(?<![0-9A-Za-z_])(" + b"|".join(map(re.escape, words)) + b")(?![0-9A-Za-z_])")
def tell(path, text):
    for word in set(wanted.findall(text)):
        print(path, "->", word.decode())
n = 0
for top in "/proc", "/sys":
    for at, dirs, files in os.walk(top):
        for name in dirs + files:
            path = os.path.join(at, name)
            tell(path, os.fsencode(name))
            if os.path.islink(path):
                try: tell(path, os.fsencode(os.readlink(path)))
                except OSError: pass
        for name in files:
            path = os.path.join(at, name)
            try: opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            except OSError: continue
            try:
                text = os.read(opened, 1 << 16)
                n += 1
                tell(path, text)
            except OSError: pass
            finally: os.close(opened)
print("files:", n)
"#;

/// What nobody inside may read, and where it was found.
async fn search(host: &Host, id: &SandboxId, user: User, words: &[String]) -> String {
    let hex = |word: &String| word.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let words: Vec<String> = words.iter().map(hex).collect();
    let script =
        format!("cat > /tmp/search.py <<'END'{SEARCH}END\npython3 /tmp/search.py {}", words.join(","));
    let ran = host.run(id, user, &script).await;
    let (found, last) = ran.stdout.trim_end().rsplit_once('\n').unwrap_or(("", ran.stdout.trim_end()));
    let n_files: u32 = last.strip_prefix("files: ").unwrap_or_else(|| panic!("{ran:?}")).parse().unwrap();
    assert!(n_files > 100, "hardly anything was read: {n_files}");
    found.to_owned()
}

/// What tells this host from others, and this moment of it.
fn words_of_the_host() -> Vec<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let mut words = vec![read("/proc/sys/kernel/random/boot_id")];
    words.extend(
        std::fs::read_dir("/sys/block").unwrap().map(|disk| disk.unwrap().file_name().into_string().unwrap()),
    );
    // Short options ("quiet") are words that anything may hold.
    words.extend(read("/proc/cmdline").split(' ').filter(|option| option.contains('=')).map(str::to_owned));
    words.extend(Some(read("/proc/sys/kernel/hostname")).filter(|name| name.len() > 3));
    words.retain(|word| !word.is_empty());
    words
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_host_or_a_neighbour_is_in_the_kernels_files() {
    let Some(host) = Host::start().await else { return };
    let (here, neighbour) = (host.create().await, host.create().await);
    let mut words = words_of_the_host();
    // Its own id is in its processes' environments.
    words.extend([neighbour.to_string(), "disk.ext4".to_owned()]);
    words.push(host.state.dir.path().file_name().unwrap().to_str().unwrap().to_owned());
    for user in [User::User, User::Root] {
        assert_eq!(search(&host, &here, user, &words).await, "", "{user:?}");
    }
    // No counters of the whole host, under whatever name.
    let script = "cat /proc/pressure/* /proc/diskstats /proc/partitions /proc/interrupts /proc/locks /proc/cmdline \
                  /proc/sys/fs/file-nr /proc/sys/fs/inode-nr /sys/devices/system/cpu/cpu*/cpuidle/*/* 2>/dev/null";
    assert_eq!(host.run(&here, User::Root, script).await.stdout, "");
    host.runtime.kill(&neighbour).await.unwrap();
}

/// Watches a device until it is told to stop, and says how often others opened it, and itself.
const WATCH: &str = r#"
import ctypes, os, struct, time
libc = ctypes.CDLL(None)
watch = libc.inotify_init1(os.O_NONBLOCK)
assert libc.inotify_add_watch(watch, b"/dev/urandom", 0x20) >= 0
open("/tmp/watching", "w").close()
while not os.path.exists("/tmp/stop"): time.sleep(0.01)
def seen():
    try: return len(os.read(watch, 1 << 16)) // struct.calcsize("iIII")
    except BlockingIOError: return 0
others = seen()
os.close(os.open("/dev/urandom", os.O_RDONLY))
open("/tmp/opened.new", "w").write(f"{others} and {seen()}")
os.rename("/tmp/opened.new", "/tmp/opened")
"#;

#[tokio::test(flavor = "multi_thread")]
async fn devices_do_not_tell_who_else_uses_theirs() {
    let Some(host) = Host::start().await else { return };
    let (here, neighbour) = (host.create().await, host.create().await);
    let script = format!("cat > /tmp/watch.py <<'END'{WATCH}END\nexec python3 /tmp/watch.py");
    support::start(&host.runtime, &here, User::Root, &script).await;
    let has = async |file: &str| host.run(&here, User::Root, &format!("cat {file}")).await;
    support::eventually("it watches", async || has("/tmp/watching").await.code == 0).await;
    let opened = host.run(&neighbour, User::User, "head -c 1 /dev/urandom | wc -c").await;
    assert_eq!(opened.stdout, "1\n", "{opened:?}");
    drop(std::fs::File::open("/dev/urandom").unwrap());
    assert_eq!(has("/tmp/opened; touch /tmp/stop").await.stdout, "");
    support::eventually("it has stopped", async || has("/tmp/opened").await.code == 0).await;
    assert_eq!(has("/tmp/opened").await.stdout, "0 and 1", "of others' and its own");
    let listed = host.run(&here, User::User, "stat -c '%n %U %G %a %F' /dev/null /dev/tty").await.stdout;
    assert_eq!(
        listed,
        "/dev/null root root 666 character special file\n/dev/tty root tty 666 character special file\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disks_image_is_named_by_nothing_that_opens_a_sandbox() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let shown = support::loops_of(host.state.dir.path());
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert!(!shown[0].contains(id.as_str()), "{shown:?}");
    // It is still known whose it is.
    let strays = host.runtime.survey().await.unwrap().strays;
    assert_eq!(strays, []);
    assert!(host.runtime.kill(&id).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_find_what_they_look_for() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    for (script, wanted) in [
        ("ls /sys/class/net", "lo\n"),
        ("cat /sys/class/net/lo/mtu", "65536\n"),
        ("cat /proc/sys/kernel/hostname", "sandbox\n"),
        ("cat /proc/sys/net/core/somaxconn | wc -l", "1\n"),
        (
            "cat /proc/sys/vm/overcommit_memory /proc/sys/kernel/pid_max /proc/sys/vm/max_map_count | wc -l",
            "3\n",
        ),
        (
            "a=$(cat /proc/sys/kernel/random/uuid); [ $a != $(cat /proc/sys/kernel/random/uuid) ] && echo new",
            "new\n",
        ),
        ("grep -c overlay /proc/filesystems", "1\n"),
        ("grep -c -w always /sys/kernel/mm/transparent_hugepage/enabled", "1\n"),
        ("lsblk | wc -l", "0\n"),
        ("ps -o tty= -p $$", "?\n"),
        ("cat /proc/version | cut -d' ' -f1", "Linux\n"),
        ("uname -r | diff - /proc/sys/kernel/osrelease && echo same", "same\n"),
    ] {
        let ran = host.run(&id, User::User, script).await;
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), (wanted, ""), "{script}");
    }
    // Not even its root changes them.
    let script =
        "for f in /proc/sys/vm/overcommit_memory /proc/swaps /sys/class/net/lo/mtu; do echo 1 > $f; done";
    let ran = host.run(&id, User::Root, script).await;
    assert_eq!(ran.stderr.matches("Read-only file system").count(), 3, "{ran:?}");
}
