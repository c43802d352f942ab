//! What the tests on real sandboxes share.
#![expect(dead_code, reason = "not every test binary needs everything")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use sandscope_model::{Entropy, ExecutionId, Rootfs, SandboxId, TemplateId};
use sandscope_runtime::linux::{LinuxOptions, LinuxRuntime};
use sandscope_runtime::{LaunchSpec, Runtime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[derive(Debug)]
struct Random;

impl Entropy for Random {
    fn fill(&self, bytes: &mut [u8]) {
        use std::io::Read as _;
        std::fs::File::open("/dev/urandom").unwrap().read_exact(bytes).unwrap();
    }
}

/// Whether real sandboxes can be made here; says so if not.
pub fn can_run() -> bool {
    let problems = sandscope_runtime::linux::check_host(&sandscope_cgroup::CgroupOptions::default());
    match problems {
        Ok(()) => true,
        Err(problems) => {
            for problem in problems {
                eprintln!("SKIPPED, no sandboxes here: {problem}");
            }
            false
        }
    }
}

pub fn options(state_dir: &Path) -> LinuxOptions {
    let mut options =
        LinuxOptions::new(state_dir.to_owned(), env!("CARGO_BIN_EXE_sandscope-test-launcher").into());
    options.cgroup_parent = "sandscope-test".into();
    options
}

/// A runtime over a directory of its own, whose sandboxes end with it.
pub struct Host {
    pub runtime: LinuxRuntime,
    pub ids: Mutex<Vec<SandboxId>>,
    pub dir: tempfile::TempDir,
}

pub fn spec(id: SandboxId) -> LaunchSpec {
    LaunchSpec {
        id,
        execution_id: ExecutionId::generate(&Random),
        template_id: TemplateId::generate(&Random),
        rootfs: Rootfs::Host,
        vcpu_count: 1,
        memory_mb: 256,
        disk_mb: 256,
        env_vars: BTreeMap::new(),
        access_token: None,
    }
}

impl Host {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = LinuxRuntime::start(options(dir.path())).await.unwrap();
        assert_eq!(runtime.recover().await.unwrap(), []);
        Self { runtime, ids: Mutex::default(), dir }
    }

    pub fn spec(&self) -> LaunchSpec {
        let id = SandboxId::generate(&Random);
        self.ids.lock().unwrap().push(id.clone());
        spec(id)
    }

    pub async fn create(&self) -> SandboxId {
        let spec = self.spec();
        self.runtime.create(&spec).await.unwrap();
        spec.id
    }

    pub async fn end(self) {
        let ids = std::mem::take(&mut *self.ids.lock().unwrap());
        for id in ids {
            self.runtime.kill(&id).await.unwrap();
        }
        self.runtime.shutdown().await;
    }
}
