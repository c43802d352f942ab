//! The engine of namespaces is held to the same promises as the fake that other crates are tested with.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use std::time::Duration;

use async_trait::async_trait;
use sandscope_cgroup::Cgroups;
use sandscope_engine::LaunchSpec;
use sandscope_engine_namespaces::linux::NamespacesEngine;
use sandscope_model::{BuildId, SandboxId};
use sandscope_testbed::{Subject, check_engine_contract};
use support::{
    PATIENCE, Random, State, User, can_run, cgroup_options, init_pid, kill_process, spec, start_detached,
};

/// This host, with a state directory of its own.
struct LinuxHost {
    state: State,
}

impl LinuxHost {
    fn cgroups(&self) -> Cgroups {
        Cgroups::open(&cgroup_options(self.state.dir.path())).unwrap()
    }
}

#[async_trait]
impl Subject for LinuxHost {
    type Engine = NamespacesEngine;

    async fn start(&mut self) -> NamespacesEngine {
        self.state.runtime().await
    }

    async fn stop(&mut self, engine: NamespacesEngine) {
        engine.shutdown().await;
    }

    fn spec(&mut self) -> LaunchSpec {
        spec(self.state.new_id())
    }

    fn layer(&mut self) -> BuildId {
        BuildId::generate(&Random)
    }

    async fn keep_busy(&mut self, engine: &NamespacesEngine, id: &SandboxId) {
        start_detached(engine, id, User::User, "while :; do :; done").await;
    }

    async fn pass_time(&mut self) {
        // sleep: real processes use real time, there is nothing else to wait for.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    async fn end_first_process(&mut self, id: &SandboxId) {
        kill_process(init_pid(self.state.dir.path(), id));
        // A server that starts before the process is gone finds it running.
        let record = self.state.dir.path().join("sandboxes").join(id.as_str()).join("exit.json");
        let recorded = async {
            while !record.exists() {
                // sleep: the pause between two looks
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, recorded).await.expect("its end is never recorded");
    }

    async fn leave_behind(&mut self) -> SandboxId {
        let id = self.state.new_id();
        let dir = self.state.dir.path().join("sandboxes").join(id.as_str());
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("disk.ext4"), vec![0; 1 << 20]).unwrap();
        let cgroups = self.cgroups();
        cgroups.create(&cgroups.own_name(id.as_str())).unwrap();
        id
    }

    async fn left_of(&mut self, id: &SandboxId) -> Vec<String> {
        let state = self.state.dir.path();
        let mut left = Vec::new();
        if self.cgroups().list_own().unwrap().iter().any(|name| name == id.as_str()) {
            left.push("control groups".to_owned());
        }
        for dir in ["sandboxes", "trash"] {
            for entry in std::fs::read_dir(state.join(dir)).unwrap() {
                let name = entry.unwrap().file_name().to_string_lossy().into_owned();
                left.extend(name.contains(id.as_str()).then(|| format!("{dir}/{name}")));
            }
        }
        left.extend((support::n_spare_loops(state) > 0).then(|| "a loop device".to_owned()));
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        left.extend(mounts.contains(id.as_str()).then(|| "a mount".to_owned()));
        left
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_is_kept() {
    if !can_run() {
        return;
    }
    let mut subject = LinuxHost { state: State::new() };
    check_engine_contract(&mut subject).await.unwrap();
}
