//! What makes the sandboxes. The one place of the server that names an engine: everything else holds the three traits.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use sandscope_cgroup::{CgroupOptions, DeviceRates};
use sandscope_engine::{Dial, EngineError, Readings};
use sandscope_engine_namespaces::linux::{
    self, KernelMemory, LinuxOptions, NamespacesEngine, Seen, WarmOptions,
};

use sandscope_config as config;
use sandscope_store::Home;
use sandscope_tasks::Tasks;
use tokio::sync::watch;

/// An engine that this host can run.
pub(crate) struct Planned {
    sandbox: config::Sandbox,
}

impl Planned {
    /// Refuses a host on which sandboxes cannot be made, saying everything that is missing and how to mend it.
    pub(crate) fn on_this_host(sandbox: &config::Sandbox) -> anyhow::Result<Self> {
        let planned = Self { sandbox: sandbox.clone() };
        let options =
            CgroupOptions { limits_device_rates: sandbox.limits_disks(), ..CgroupOptions::default() };
        let Err(problems) = linux::check_host(&options) else { return Ok(planned) };
        let mut message = "sandboxes cannot be made on this host:".to_owned();
        for problem in problems {
            let _ = write!(message, "\n  - {}\n    fix: {}", problem.what, problem.fix);
        }
        anyhow::bail!(message)
    }

    /// Whether sandboxes that `data_dir` names run in another directory.
    pub(crate) fn is_copy(data_dir: &Path) -> bool {
        let seen = linux::inspect(data_dir, &CgroupOptions::default());
        seen.is_ok_and(|seen| seen.sandboxes.iter().any(|(_, seen)| *seen == Seen::Elsewhere))
    }

    /// Starts it over the state kept below `data_dir`, as `home` says whose that is.
    pub(crate) async fn start(self, data_dir: &Path, home: &Home, tasks: &Tasks) -> anyhow::Result<Engine> {
        sandscope_system::raise_descriptor_limit();
        let engine = namespaces(data_dir, home, &self.sandbox, tasks).await;
        Ok(Engine::of(engine.context("cannot start the sandbox runtime")?, self.sandbox))
    }
}

/// A running engine, as each part of the server holds it.
pub(crate) struct Engine {
    namespaces: Arc<NamespacesEngine>,
    sandbox: config::Sandbox,
    engine: Arc<dyn sandscope_engine::Engine>,
    readings: Arc<dyn Readings>,
    door: Arc<dyn Dial>,
    kernel_memory: watch::Receiver<KernelMemory>,
}

impl Engine {
    fn of(engine: NamespacesEngine, sandbox: config::Sandbox) -> Self {
        let kernel_memory = engine.kernel_memory();
        let engine = Arc::new(engine);
        Self {
            namespaces: Arc::clone(&engine),
            sandbox,
            readings: Arc::clone(&engine) as _,
            door: Arc::clone(&engine) as _,
            engine,
            kernel_memory,
        }
    }

    /// What its watch over the kernel's memory says of itself.
    pub(crate) fn kernel_memory(&self) -> watch::Receiver<KernelMemory> {
        self.kernel_memory.clone()
    }

    /// Makes one sandbox for real: a host that lets everything be looked at may still refuse to make one. A host without
    /// room is no such host: it is a matter of time, and what lives on it has to be served.
    ///
    /// # Errors
    /// What keeps sandboxes from being made, where none lives: with `n_alive` of them it is logged, and the server goes
    /// on for their sake.
    pub(crate) async fn try_out(&self, n_alive: usize) -> anyhow::Result<()> {
        let made = self.namespaces.try_out(self.sandbox.memory_mb, self.sandbox.disk_mb).await;
        match made {
            Ok(()) => Ok(()),
            Err(error @ (EngineError::DiskFull(_) | EngineError::NoCapacity(_))) => {
                tracing::warn!(%error, "no sandbox can be made at present; creates are refused until there is room");
                Ok(())
            }
            Err(error) if n_alive > 0 => {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::error!(
                    error, n_alive, "no sandbox can be made on this host; serving those that live: see `sandscope doctor`"
                );
                Ok(())
            }
            Err(error) => Err(anyhow::Error::from(error).context(
                "no sandbox can be made on this host, though it has what sandboxes need; in a container, run it \
                 privileged; `sandscope doctor` says more",
            )),
        }
    }

    pub(crate) fn engine(&self) -> Arc<dyn sandscope_engine::Engine> {
        Arc::clone(&self.engine)
    }

    pub(crate) fn readings(&self) -> Arc<dyn Readings> {
        Arc::clone(&self.readings)
    }

    pub(crate) fn door(&self) -> Arc<dyn Dial> {
        Arc::clone(&self.door)
    }

    /// Finishes what it does in the background. Sandboxes live on.
    pub(crate) async fn close(&self) {
        self.engine.close().await;
    }
}

/// Zero limits nothing.
fn disk_rates(sandbox: &config::Sandbox) -> DeviceRates {
    let rate = |mb_per_s: u32| (mb_per_s > 0).then(|| u64::from(mb_per_s) << 20);
    DeviceRates { read: rate(sandbox.disk_read_mb_per_s), written: rate(sandbox.disk_write_mb_per_s) }
}

/// The engine of namespaces, whose launcher is this same binary.
async fn namespaces(
    data_dir: &Path,
    home: &Home,
    sandbox: &config::Sandbox,
    tasks: &Tasks,
) -> anyhow::Result<NamespacesEngine> {
    let launcher = std::env::current_exe().context("cannot find this program's own file")?;
    let mut options = LinuxOptions::new(data_dir.to_owned(), launcher, home.instance.clone());
    options.is_adopted = home.is_adopting;
    options.kernel_memory_bytes = u64::from(sandbox.kernel_memory_mb) << 20;
    options.disk_reserve_bytes = u64::from(sandbox.disk_reserve_mb) << 20;
    options.disk_rates = disk_rates(sandbox);
    options.warm = (sandbox.n_warm > 0).then_some(WarmOptions {
        n: sandbox.n_warm,
        memory_mb: sandbox.memory_mb,
        disk_mb: sandbox.disk_mb,
    });
    Ok(NamespacesEngine::start(options, tasks.clone()).await?)
}
