//! What makes the sandboxes: the Linux runtime, whose launcher is this same binary.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use sandscope_cgroup::CgroupOptions;
use sandscope_engine::{Dial, Readings};
use sandscope_engine_namespaces::linux::{self, LinuxOptions, LinuxRuntime, WarmOptions};

use sandscope_config as config;
use sandscope_tasks::Tasks;

/// A running engine.
pub(crate) struct Engine {
    runtime: Arc<LinuxRuntime>,
}

impl Engine {
    /// Refuses a host on which sandboxes cannot be made, saying everything that is missing and how to mend it.
    pub(crate) fn check_host() -> anyhow::Result<()> {
        let Err(problems) = linux::check_host(&CgroupOptions::default()) else { return Ok(()) };
        let mut message = "sandboxes cannot be made on this host:".to_owned();
        for problem in problems {
            let _ = write!(message, "\n  - {}\n    fix: {}", problem.what, problem.fix);
        }
        anyhow::bail!(message)
    }

    /// Starts it over the state kept below `data_dir`.
    pub(crate) async fn start(
        data_dir: &Path,
        sandbox: &config::Sandbox,
        tasks: &Tasks,
    ) -> anyhow::Result<Self> {
        sandscope_system::raise_descriptor_limit();
        let launcher = std::env::current_exe().context("cannot find this program's own file")?;
        let mut options = LinuxOptions::new(data_dir.to_owned(), launcher);
        options.warm = (sandbox.n_warm > 0).then_some(WarmOptions {
            n: sandbox.n_warm,
            memory_mb: sandbox.memory_mb,
            disk_mb: sandbox.disk_mb,
        });
        let runtime =
            LinuxRuntime::start(options, tasks.clone()).await.context("cannot start the sandbox runtime")?;
        Ok(Self { runtime: Arc::new(runtime) })
    }

    pub(crate) fn engine(&self) -> Arc<dyn sandscope_engine::Engine> {
        Arc::clone(&self.runtime) as Arc<dyn sandscope_engine::Engine>
    }

    pub(crate) fn readings(&self) -> Arc<dyn Readings> {
        Arc::clone(&self.runtime) as Arc<dyn Readings>
    }

    pub(crate) fn door(&self) -> Arc<dyn Dial> {
        Arc::clone(&self.runtime) as Arc<dyn Dial>
    }

    /// Finishes what is being removed. Sandboxes live on.
    pub(crate) async fn shutdown(&self) {
        self.runtime.shutdown().await;
    }
}
