//! State directories that were copied: every server keeps to its own sandboxes, whatever the records say.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use std::path::{Path, PathBuf};

use sandscope_cgroup::{CgroupOptions, Cgroups};
use sandscope_engine::{Engine as _, Found, FoundState};
use sandscope_engine_namespaces::linux::{NamespacesEngine, Seen, inspect};
use sandscope_model::{Cause, Exit, SandboxId};

use support::{CGROUP_PARENT, Host, State, User, cgroup_options, eventually, options, set_of, tasks};

/// A copy of the state directory, as an operator makes one.
fn copy(state: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let from = state.join(".");
    let mut cp = std::process::Command::new("cp");
    assert!(cp.args(["-a", "--sparse=always"]).arg(from).arg(copy.path()).status().unwrap().success());
    copy
}

/// Gives a sandbox the groups that an earlier version would have made for it: named after it, or as `ahead` says of one
/// that was made ahead. Returns their directories.
fn age(state: &Path, id: &SandboxId, ahead: Option<&str>) -> Vec<PathBuf> {
    let name = ahead.unwrap_or(id.as_str());
    let set = set_of(state, id);
    let pids = set.processes(64).unwrap();
    let cgroups =
        Cgroups::open(&CgroupOptions { parent: CGROUP_PARENT.into(), ..CgroupOptions::default() }).unwrap();
    let old = cgroups.create(name).unwrap();
    let dirs: Vec<PathBuf> = old.dirs().map(Path::to_owned).collect();
    for dir in &dirs {
        for pid in &pids {
            std::fs::write(dir.join("cgroup.procs"), pid.to_string()).unwrap();
        }
    }
    set.remove(support::PATIENCE).unwrap();
    let dir = state.join("sandboxes").join(id.as_str());
    if let Some(ahead) = ahead {
        std::fs::write(dir.join("cgroup"), ahead).unwrap();
    }
    let file = dir.join("sandbox.json");
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    record["cgroup_name"] = name.into();
    record["cgroup_dirs"] = serde_json::to_value(&dirs).unwrap();
    std::fs::write(&file, record.to_string()).unwrap();
    dirs
}

/// The server stops; its sandboxes live on.
async fn stop(host: Host) -> State {
    let Host { runtime, state } = host;
    runtime.shutdown().await;
    state
}

async fn is_well(host: &Host, id: &SandboxId) -> bool {
    host.run(id, User::User, "echo well").await.stdout == "well\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn sandboxes_of_earlier_versions_live_on_and_nothing_is_left_of_them() {
    let Some(host) = Host::start().await else { return };
    let (id, half_made, from_shelf) = (host.create().await, host.create().await, host.create().await);
    let state = stop(host).await;
    let mut dirs = age(state.dir.path(), &from_shelf, Some(&format!("w{from_shelf}")));
    dirs.extend([&id, &half_made].into_iter().flat_map(|id| age(state.dir.path(), id, None)));
    let record = state.dir.path().join("sandboxes").join(half_made.as_str()).join("sandbox.json");
    std::fs::remove_file(record).unwrap();
    let host = Host { runtime: state.runtime().await, state };
    let found = host.runtime.recover().await.unwrap();
    assert!(found.len() == 2 && found.iter().all(|found| found.state == FoundState::Running), "{found:?}");
    // The kernel lets go of a loop device a moment late.
    eventually("nothing is left", async || host.runtime.survey().await.unwrap().strays.is_empty()).await;
    for id in [&id, &from_shelf] {
        assert!(is_well(&host, id).await);
        host.runtime.kill(id).await.unwrap();
    }
    host.runtime.shutdown().await;
    assert!(dirs.iter().all(|dir| !dir.exists()), "{dirs:?}");
}

/// Both directories were of an earlier version, so that neither knew that it was a copy.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_nobody_knows_for_one_ends_nothing_all_the_same() {
    let Some(host) = Host::start().await else { return };
    let (id, half_made) = (host.create().await, host.create().await);
    let state = stop(host).await;
    let mut dirs = age(state.dir.path(), &id, Some(&format!("w{id}")));
    dirs.extend(age(state.dir.path(), &half_made, None));
    let copy = copy(state.dir.path());
    // As if it had been copied while the original was making this one.
    std::fs::remove_file(copy.path().join("sandboxes").join(half_made.as_str()).join("sandbox.json"))
        .unwrap();
    let seen = inspect(copy.path(), &cgroup_options(copy.path())).unwrap();
    assert!(seen.sandboxes.contains(&(id.clone(), Seen::Elsewhere)), "{seen:?}");

    let other = NamespacesEngine::start(options(copy.path()), tasks()).await.unwrap();
    let dead = FoundState::Dead(Exit::of_cause(Cause::DirectoryAdopted));
    assert_eq!(other.recover().await.unwrap(), [Found { id: id.clone(), state: dead }]);
    other.kill(&id).await.unwrap();
    other.shutdown().await;
    assert_eq!(std::fs::read_dir(copy.path().join("sandboxes")).unwrap().count(), 0);
    assert!(dirs.iter().all(|dir| dir.is_dir()));

    let host = Host { runtime: state.runtime().await, state };
    assert_eq!(host.runtime.recover().await.unwrap().len(), 2);
    for id in [&id, &half_made] {
        assert!(is_well(&host, id).await);
        host.runtime.kill(id).await.unwrap();
    }
    host.runtime.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_copy_forgets_what_it_knew_and_touches_nothing() {
    let Some(host) = Host::start_with(|options| {
        options.warm =
            Some(sandscope_engine_namespaces::linux::WarmOptions { n: 1, memory_mb: 128, disk_mb: 64 });
    })
    .await
    else {
        return;
    };
    let id = host.create().await;
    let state = host.state.dir.path();
    let shelf = state.join("warm");
    eventually("one is made ahead", async || std::fs::read_dir(&shelf).unwrap().count() == 1).await;
    let copy = copy(state);
    let mut adopting = options(copy.path());
    adopting.is_adopted = true;
    let other = NamespacesEngine::start(adopting, tasks()).await.unwrap();
    assert_eq!(other.recover().await.unwrap(), []);
    // What the store still says is alive.
    other.kill(&id).await.unwrap();
    assert_eq!(other.survey().await.unwrap(), sandscope_engine::Survey::default());
    other.shutdown().await;
    for dir in ["sandboxes", "warm", "trash"] {
        assert_eq!(std::fs::read_dir(copy.path().join(dir)).unwrap().count(), 0, "{dir}");
    }
    assert!(is_well(&host, &id).await);
    let another = host.create().await;
    assert!(is_well(&host, &another).await, "the shelf is untouched, too");
    for id in [&id, &another] {
        host.runtime.kill(id).await.unwrap();
    }
    host.runtime.shutdown().await;
}
