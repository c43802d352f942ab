//! Sandboxes made ahead: taken, refilled, and gone without a trace when nobody wants them.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test stops at the unexpected and says why it skips"
)]

mod support;

use std::path::{Path, PathBuf};

use sandscope_cgroup::{CgroupOptions, Cgroups};
use sandscope_engine::{Dial as _, Engine as _, LaunchSpec, Readings as _};
use sandscope_engine_namespaces::linux::{LinuxOptions, NamespacesEngine, WarmOptions};
use sandscope_model::Secret;
use support::{CGROUP_PARENT, Host, State, User, can_run, eventually, options, run, spec};

const N: usize = 2;

fn warm(options: &mut LinuxOptions) {
    options.warm = Some(WarmOptions { n: N, memory_mb: 128, disk_mb: 64 });
}

fn on_the_shelf(state: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(state.join("warm")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The shelf is full and everybody on it listens: what is being made has no loop device yet, so the disk shows it.
async fn full(state: &Path) {
    eventually("the shelf is full", async || on_the_shelf(state).len() == N).await;
}

fn groups() -> Vec<String> {
    let options = CgroupOptions { parent: CGROUP_PARENT.into(), ..CgroupOptions::default() };
    Cgroups::probe(&options).unwrap().list().unwrap()
}

fn group_of(state: &Path, spec: &LaunchSpec) -> String {
    let file = state.join("sandboxes").join(spec.id.as_str()).join("sandbox.json");
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    record["cgroup_name"].as_str().unwrap().to_owned()
}

/// Creates until one is taken from the shelf: what is being made is not ready yet.
async fn create_warm(host: &Host, change: impl Fn(&mut LaunchSpec)) -> LaunchSpec {
    for _ in 0..20 {
        full(host.state.dir.path()).await;
        let mut spec = host.spec();
        change(&mut spec);
        host.runtime.create(&spec).await.unwrap();
        if !group_of(host.state.dir.path(), &spec).ends_with(spec.id.as_str()) {
            return spec;
        }
        host.runtime.kill(&spec.id).await.unwrap();
    }
    panic!("none was ever taken from the shelf");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_made_ahead_is_as_good_as_any() {
    let Some(host) = Host::start_with(warm).await else { return };
    let spec = create_warm(&host, |spec| {
        spec.vcpu_count = 2;
        spec.env_vars.insert("COLOUR".to_owned(), "blue".to_owned());
        spec.access_token = Some(Secret::new("only-mine".to_owned()));
    })
    .await;
    let refused = host.runtime.dial(&spec.id, sandscope_agent_protocol::AGENT_PORT).await;
    assert!(refused.is_ok());
    let group = group_of(host.state.dir.path(), &spec);
    let cgroups = Cgroups::probe(&support::cgroup_options(host.state.dir.path())).unwrap();
    let set = cgroups.open_set(&group).unwrap().unwrap();
    let quota = set.dirs().find_map(|dir| {
        let v1 = std::fs::read_to_string(dir.join("cpu.cfs_quota_us")).ok();
        v1.or_else(|| std::fs::read_to_string(dir.join("cpu.max")).ok())
    });
    assert_eq!(quota.unwrap().split_whitespace().next(), Some("200000"), "two CPUs, not the shelf's one");
    assert!(host.runtime.running().contains(&spec.id));
    host.runtime.kill(&spec.id).await.unwrap();
    host.runtime.shutdown().await;
    assert!(!groups().contains(&group), "its groups went with it, whatever their name");
    assert!(on_the_shelf(host.state.dir.path()).is_empty(), "nothing stays on the shelf");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_inside_is_the_sandboxs_own() {
    let Some(host) = Host::start_with(warm).await else { return };
    let spec = create_warm(&host, |spec| {
        spec.env_vars.insert("COLOUR".to_owned(), "blue".to_owned());
    })
    .await;
    let ran =
        host.run(&spec.id, User::User, "echo $COLOUR $E2B_SANDBOX_ID; id -un; touch ~/mine && ls -a ~").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.starts_with(&format!("blue {}\nuser\n", spec.id)), "{ran:?}");
    assert!(ran.stdout.contains("mine"), "{ran:?}");
    host.runtime.kill(&spec.id).await.unwrap();
    host.runtime.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_size_goes_the_long_way() {
    let Some(host) = Host::start_with(warm).await else { return };
    full(host.state.dir.path()).await;
    let mut spec = host.spec();
    spec.memory_mb = 192;
    host.runtime.create(&spec).await.unwrap();
    assert!(group_of(host.state.dir.path(), &spec).ends_with(spec.id.as_str()));
    host.runtime.kill(&spec.id).await.unwrap();
    host.runtime.shutdown().await;
}

/// Runs a server for a while and ends it as `kill -9` would: nothing of it gets to clean up.
fn killed_server(state: &State, wait_for: usize) {
    let tokio = tokio::runtime::Runtime::new().unwrap();
    tokio.block_on(async {
        let mut options = options(state.dir.path());
        warm(&mut options);
        let runtime = NamespacesEngine::start(options, support::tasks()).await.unwrap();
        assert_eq!(runtime.recover().await.unwrap(), []);
        eventually("something is on the shelf", async || on_the_shelf(state.dir.path()).len() >= wait_for)
            .await;
        let made = |dir: &PathBuf| dir.join("disk.ext4").exists();
        eventually("it is made", async || on_the_shelf(state.dir.path()).iter().any(made)).await;
    });
    tokio.shutdown_timeout(std::time::Duration::from_secs(20));
}

#[test]
fn what_a_killed_server_left_on_its_shelf_is_removed_by_the_next() {
    if !can_run() {
        return;
    }
    let state = State::new();
    killed_server(&state, N);
    let left = on_the_shelf(state.dir.path());
    assert!(!left.is_empty());
    // One had just been given to somebody when the server died: named, not recorded.
    let half = spec(state.new_id());
    let name = left[0].file_name().unwrap().to_str().unwrap().to_owned();
    std::fs::write(left[0].join("cgroup"), &name).unwrap();
    std::fs::rename(&left[0], state.dir.path().join("sandboxes").join(half.id.as_str())).unwrap();

    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let runtime = state.runtime().await;
        assert_eq!(runtime.recover().await.unwrap(), []);
        runtime.shutdown().await;
        assert!(on_the_shelf(state.dir.path()).is_empty());
        let names: Vec<_> =
            left.iter().map(|dir| dir.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        assert!(!groups().iter().any(|group| names.contains(group)), "no control group is left");
        // And it works.
        let spec = spec(state.new_id());
        runtime.create(&spec).await.unwrap();
        assert_eq!(run(&runtime, &spec.id, User::User, "exit 3").await.code, 3);
        runtime.kill(&spec.id).await.unwrap();
        runtime.shutdown().await;
    });
}
