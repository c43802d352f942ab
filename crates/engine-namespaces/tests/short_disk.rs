//! A host whose disk runs full: what was answered with success is there, and the rest is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use sandscope_engine::{Engine as _, EngineError};
use sandscope_engine_namespaces::linux::NamespacesEngine;
use sandscope_model::{BuildId, SandboxId};
use support::{Host, Random, State, User, ask, counters, eventually, run, spec, start};

const OCTETS: (&str, &str) = ("content-type", "application/octet-stream");
const MIB: usize = 1 << 20;

/// A file system of its own, of 120 MiB, for a state directory.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (image, at) = (dir.path().join("image"), dir.path().join("mounted"));
        File::create(&image).unwrap().set_len(120 << 20).unwrap();
        std::fs::create_dir(&at).unwrap();
        let [image, path] = [&image, &at].map(|path| path.to_str().unwrap());
        command("mkfs.ext4", &["-q", "-F", image]);
        command("mount", &["-o", "loop", image, path]);
        Self { dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Gone with its last user.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn command(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).output().unwrap();
    assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// One that keeps as much free as such a disk allows.
async fn runtime_on(disk: &SmallDisk) -> NamespacesEngine {
    let mut options = support::options(&disk.path());
    options.disk_reserve_bytes = 1 << 30;
    NamespacesEngine::start(options, support::tasks()).await.unwrap()
}

/// A runtime on a small disk. The sandboxes end before the disk goes.
struct Small {
    runtime: NamespacesEngine,
    state: State,
    disk: SmallDisk,
}

impl Small {
    async fn start() -> Option<Self> {
        if !support::can_run() {
            return None;
        }
        let (state, disk) = (State::new(), SmallDisk::new());
        let runtime = runtime_on(&disk).await;
        assert_eq!(runtime.recover().await.unwrap(), []);
        Some(Self { runtime, state, disk })
    }

    async fn create(&self) -> SandboxId {
        let spec = spec(self.state.new_id());
        self.runtime.create(&spec).await.unwrap();
        spec.id
    }

    async fn end(self, ids: &[SandboxId]) {
        for id in ids {
            self.runtime.kill(id).await.unwrap();
        }
        self.runtime.shutdown().await;
        support::clear_half(&self.disk.path());
    }

    fn is_short(&self) -> bool {
        self.runtime.disk().unwrap().is_short
    }

    /// What another program on the host does: it writes until there is no room for another byte; between two looks no
    /// more than is promised to be survived.
    async fn fill(&self) {
        let mut filler = File::options().create(true).append(true).open(self.disk.filler()).unwrap();
        let piece = vec![0x5a; 64 << 10];
        let n_looks = || self.runtime.disk().unwrap().n_looks;
        loop {
            // One that began after the last piece has ended.
            let upto = n_looks() + 2;
            eventually("the disk is looked at", async || n_looks() >= upto).await;
            let step = self.runtime.disk().unwrap().reserve_bytes / 4;
            let n = usize::try_from(step).unwrap() / piece.len();
            if (0..n).any(|_| filler.write_all(&piece).is_err()) {
                break;
            }
        }
    }

    async fn becomes_short(&self) {
        eventually("the disk is short", async || self.is_short()).await;
    }
}

async fn upload(runtime: &NamespacesEngine, id: &SandboxId, path: &str, bytes: Vec<u8>) -> (u16, String) {
    let (status, body) = ask(runtime, id, "POST", &format!("/files?path={path}"), &[OCTETS], bytes).await;
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// What is on the disk, and not what the kernel remembers of it.
async fn hash_on_disk(runtime: &NamespacesEngine, id: &SandboxId, path: &str) -> String {
    let script = format!("dd if={path} iflag=direct bs=1M status=none | sha256sum | cut -c1-64");
    run(runtime, id, User::User, &script).await.stdout.trim().to_owned()
}

/// Bytes that no other name has.
fn bytes_of(name: &str, n: usize) -> Vec<u8> {
    name.bytes().cycle().zip(0_u32..).map(|(byte, at)| byte ^ at.to_le_bytes()[1] ^ 0x33).take(n).collect()
}

/// The same hash, by the same program.
async fn hash(bytes: Vec<u8>) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bytes");
    std::fs::write(&path, bytes).unwrap();
    let done = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(done.stdout).unwrap()[..64].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_finds_no_room_on_the_host_is_refused_in_words() {
    let Some(small) = Small::start().await else { return };
    let id = small.create().await;
    small.fill().await;
    small.becomes_short().await;
    let (status, body) = upload(&small.runtime, &id, "/home/user/f", bytes_of("f", 15 * MIB)).await;
    assert_eq!(status, 507, "{body}");
    assert!(body.contains("not enough disk space available"), "{body}");
    let gone = run(&small.runtime, &id, User::User, "ls /home/user/f").await;
    assert_ne!(gone.code, 0, "half a file is left: {gone:?}");
    small.end(&[id]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_wrote_before_another_program_filled_the_disk_is_there() {
    let Some(small) = Small::start().await else { return };
    let id = small.create().await;
    // In memory only, when the room goes; and preallocated, with no room taken on the host.
    let write = "head -c 6M /dev/urandom > /home/user/f; sha256sum /home/user/f | cut -c1-64; \
                 fallocate -l 4M /home/user/p";
    let wrote = run(&small.runtime, &id, User::User, write).await;
    assert_eq!(wrote.code, 0, "{wrote:?}");
    small.fill().await;
    small.becomes_short().await;
    let refused = run(&small.runtime, &id, User::Root, "head -c 3M /dev/zero > /root/more").await;
    assert!(refused.code != 0 && refused.stderr.contains("No space left"), "{refused:?}");
    let into = "head -c 4M /dev/urandom | dd of=/home/user/p bs=1M conv=notrunc,fsync iflag=fullblock status=none && \
                sha256sum /home/user/p | cut -c1-64";
    let into = run(&small.runtime, &id, User::User, into).await;
    assert_eq!(into.code, 0, "{into:?}");
    assert_eq!(hash_on_disk(&small.runtime, &id, "/home/user/f").await, wrote.stdout.trim());
    assert_eq!(hash_on_disk(&small.runtime, &id, "/home/user/p").await, into.stdout.trim());
    assert_eq!(small.runtime.disk().unwrap().n_lost, 0);
    small.end(&[id]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_under_load_loses_no_byte_that_was_answered_with_success() {
    let Some(small) = Small::start().await else { return };
    let ids = [small.create().await, small.create().await];
    // Files of a command's own, each reported once it is whole; every third is synced.
    let script = "cd /home/user; i=0; while head -c 300k /dev/urandom > c$i; do [ $((i % 3)) = 0 ] && { sync c$i || break; }; \
                  echo c$i $(sha256sum c$i | cut -c1-64) >> /dev/shm/done; i=$((i+1)); done; touch /dev/shm/over";
    for id in &ids {
        start(&small.runtime, id, User::User, script).await;
    }
    let (uploads_over, mut kept) = (AtomicBool::new(false), Vec::new());
    let uploads = async {
        for n in 0..40 {
            let name = format!("u{n}");
            let bytes = bytes_of(&name, 700 << 10);
            for id in &ids {
                match upload(&small.runtime, id, &format!("/home/user/{name}"), bytes.clone()).await {
                    (200, _) => kept.push((id.clone(), name.clone(), hash(bytes.clone()).await)),
                    (507, _) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        uploads_over.store(true, Ordering::Release);
    };
    let host = async {
        small.fill().await;
        small.becomes_short().await;
        // It takes what becomes free, too.
        small.fill().await;
        eventually("all is refused, or waits", async || {
            uploads_over.load(Ordering::Acquire) || small.runtime.disk().unwrap().n_held > 0
        })
        .await;
        small.disk.make_room();
    };
    tokio::join!(uploads, host);
    assert!(!kept.is_empty(), "nothing was written before the disk was full");
    for id in &ids {
        eventually("the commands met the full disk", async || {
            run(&small.runtime, id, User::User, "test -e /dev/shm/over").await.code == 0
        })
        .await;
        let done = run(&small.runtime, id, User::User, "cat /dev/shm/done").await.stdout;
        for line in done.lines() {
            let (name, hash) = line.split_once(' ').unwrap();
            kept.push((id.clone(), name.to_owned(), hash.to_owned()));
        }
    }
    for (id, name, hash) in &kept {
        let found = hash_on_disk(&small.runtime, id, &format!("/home/user/{name}")).await;
        assert_eq!(found, *hash, "{name} of {} is not what was written", kept.len());
    }
    assert_eq!(small.runtime.disk().unwrap().n_lost, 0);
    small.end(&ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_disk_refuses_sandboxes_and_snapshots_until_there_is_room_and_lets_end() {
    let Some(small) = Small::start().await else { return };
    let (id, other) = (small.create().await, small.create().await);
    let before = counters(&small.runtime, &id).await.unwrap();
    small.fill().await;
    small.becomes_short().await;
    let refused = small.runtime.create(&spec(small.state.new_id())).await;
    assert!(matches!(refused, Err(EngineError::DiskFull(_))), "{refused:?}");
    let build = BuildId::generate(&Random);
    let refused = small.runtime.capture(&id, build).await;
    assert!(matches!(refused, Err(EngineError::DiskFull(_))), "{refused:?}");
    let now = counters(&small.runtime, &id).await.unwrap();
    assert!(
        now.disk_available_bytes + (1 << 20) > before.disk_available_bytes,
        "its own disk did not get fuller: {now:?} {before:?}"
    );
    small.runtime.pause(&id).await.unwrap();
    small.runtime.resume(&id).await.unwrap();
    small.runtime.kill(&other).await.unwrap();
    small.disk.make_room();
    eventually("there is room again", async || !small.is_short()).await;
    let another = small.create().await;
    small.runtime.capture(&id, build).await.unwrap();
    let (status, body) = upload(&small.runtime, &id, "/home/user/f", bytes_of("f", 8 * MIB)).await;
    assert_eq!(status, 200, "{body}");
    small.end(&[id, another]).await;
}

/// Lets a sandbox take what it likes, as one may while there is room for everybody, and preallocate.
fn preallocate(state_dir: &Path, id: &SandboxId, size: &str) {
    let record = state_dir.join("sandboxes").join(id.as_str()).join("sandbox.json");
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
    let device = format!("/sys/fs/ext4/loop{}/reserved_clusters", record["made"]["loop_device"]);
    std::fs::write(device, "0").unwrap();
    let pid = support::init_pid(state_dir, id).to_string();
    command("nsenter", &["-t", &pid, "-U", "-m", "-S", "0", "-G", "0", "fallocate", "-l", size, "/root/p"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_for_whose_preallocations_there_is_no_room_stands_still_until_there_is() {
    let Some(small) = Small::start().await else { return };
    let ids = [small.create().await, small.create().await, small.create().await];
    let Small { runtime: first, state, disk } = small;
    first.shutdown().await;
    drop(first);
    // Together more than the host has, and nobody looked.
    for id in &ids {
        preallocate(&disk.path(), id, "40M");
    }
    let runtime = runtime_on(&disk).await;
    assert_eq!(runtime.recover().await.unwrap().len(), 3);
    let n_held = async || runtime.disk().unwrap().n_held;
    eventually("one stands still", async || n_held().await == 1).await;
    for id in &ids {
        assert_eq!(runtime.check(id).await, Ok(()), "one that stands still is not ill");
    }
    for id in &ids[..2] {
        runtime.kill(id).await.unwrap();
    }
    eventually("the last one goes on", async || n_held().await == 0).await;
    let ran = run(&runtime, &ids[2], User::User, "echo alive").await;
    assert_eq!(ran.stdout, "alive\n", "{ran:?}");
    Small { runtime, state, disk }.end(&ids[2..]).await;
}

/// Bytes that the sandbox's image takes on the host.
fn image_bytes(state_dir: &Path, id: &SandboxId) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let image = state_dir.join("sandboxes").join(id.as_str()).join("disk.ext4");
    std::fs::metadata(image).unwrap().blocks() * 512
}

/// Writes and deletes so much inside.
async fn write_and_delete(host: &Host, id: &SandboxId, size: &str) {
    let script = format!("head -c {size} /dev/urandom > f && sync f && rm f");
    let ran = host.run(id, User::User, &script).await;
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_inside_goes_back_to_the_host_by_and_by() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let of_image = || image_bytes(host.state.dir.path(), &id);
    let before = of_image();
    write_and_delete(&host, &id, "20M").await;
    eventually("it goes back", async || of_image() < before + (4 << 20)).await;
}

/// So little that it is not given back while the sandbox runs.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_inside_goes_back_to_the_host_at_a_pause_and_before_a_snapshot() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let of_image = || image_bytes(host.state.dir.path(), &id);
    let before = of_image();
    write_and_delete(&host, &id, "6M").await;
    assert!(of_image() > before + (5 << 20));
    host.runtime.pause(&id).await.unwrap();
    assert!(of_image() < before + (1 << 20), "{} after {before}", of_image());
    host.runtime.resume(&id).await.unwrap();
    write_and_delete(&host, &id, "6M").await;
    let bytes = host.runtime.capture(&id, BuildId::generate(&Random)).await.unwrap();
    assert!(bytes < before + (1 << 20), "{bytes} after {before}");
}
