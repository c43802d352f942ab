//! Who has the CPUs first.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use std::path::Path;

use sandscope_engine::Engine as _;
use sandscope_model::SandboxId;
use support::{Host, User, eventually, set_of, start_detached};

/// Whether a sandbox lets the others go first; none where the kernel does not know it.
fn yields(state: &Path, id: &SandboxId) -> Option<bool> {
    let set = set_of(state, id);
    let read = set.dirs().find_map(|dir| std::fs::read_to_string(dir.join("cpu.idle")).ok());
    if read.is_none() {
        eprintln!("SKIPPED: this kernel lets no group go behind the others");
    }
    Some(read?.trim() == "1")
}

/// A sandbox that may use all CPUs.
async fn create(host: &Host) -> SandboxId {
    let mut spec = host.spec();
    spec.vcpu_count = u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
    host.runtime.create(&spec).await.unwrap();
    spec.id
}

/// More of them than there are CPUs.
const COMPUTE: &str = "for i in $(seq $((2 * $(nproc)))); do (while :; do :; done) & done; wait";

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_computes_lets_the_others_go_first_until_it_rests() {
    let Some(host) = Host::start().await else { return };
    let (busy, other) = (create(&host).await, create(&host).await);
    let state = host.state.dir.path();
    if yields(state, &busy).is_none() {
        return;
    }
    start_detached(&host.runtime, &busy, User::User, COMPUTE).await;
    eventually("it lets the others go first", async || yields(state, &busy).unwrap()).await;
    assert!(!yields(state, &other).unwrap());
    // It is served as well.
    assert_eq!(host.run(&busy, User::Root, "echo here; pkill -9 -u user").await.stdout, "here\n");
    eventually("it rests", async || !yields(state, &busy).unwrap()).await;
    host.runtime.shutdown().await;
}

/// The CPUs that its first process may use.
fn cpus_of(state: &Path, id: &SandboxId) -> Option<String> {
    let first = *set_of(state, id).processes(1).unwrap().first()?;
    let status = std::fs::read_to_string(format!("/proc/{first}/status")).ok()?;
    Some(status.split_once("Cpus_allowed_list:")?.1.lines().next()?.to_owned())
}

/// The kernel works for it, and it hardly for itself.
const CALLS: &str = "for i in $(seq $(nproc)); do dd if=/dev/zero of=/dev/null bs=1M & done; wait";

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_has_the_kernel_work_leaves_half_of_the_cpus_to_others() {
    let Some(host) = Host::start().await else { return };
    let (busy, other) = (create(&host).await, create(&host).await);
    let state = host.state.dir.path();
    let all = cpus_of(state, &other);
    if !set_of(state, &other).keep_to_half(true).unwrap() {
        eprintln!("SKIPPED: this host has one CPU, or does not hand down which are used");
        return;
    }
    let half = cpus_of(state, &other);
    set_of(state, &other).keep_to_half(false).unwrap();
    assert_ne!(half, all);
    start_detached(&host.runtime, &busy, User::User, CALLS).await;
    start_detached(&host.runtime, &other, User::User, "while :; do sleep 0.01; done").await;
    eventually("it has half", async || cpus_of(state, &busy) == half).await;
    assert_eq!(cpus_of(state, &other), all);
    host.run(&busy, User::Root, "pkill -9 -u user").await;
    eventually("it has all", async || cpus_of(state, &busy) == all).await;
    host.runtime.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_server_takes_away_what_it_finds() {
    let Some(host) = Host::start().await else { return };
    let id = create(&host).await;
    let Host { runtime, state: kept } = host;
    runtime.shutdown().await;
    drop(runtime);
    let (runtime, state) = (kept.runtime().await, kept.dir.path());
    if !set_of(state, &id).set_yields(true).unwrap() {
        return;
    }
    let all = cpus_of(state, &id);
    let has_half = set_of(state, &id).keep_to_half(true).unwrap();
    assert_eq!(cpus_of(state, &id) != all, has_half);
    runtime.recover().await.unwrap();
    eventually("nobody goes behind", async || !yields(state, &id).unwrap()).await;
    eventually("it has all CPUs", async || cpus_of(state, &id) == all).await;
    runtime.shutdown().await;
}
