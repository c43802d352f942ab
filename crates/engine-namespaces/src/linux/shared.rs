//! What every operation of the engine works with: each part owns its state, and none knows this whole.

use std::sync::Arc;

use sandscope_cgroup::{CgroupOptions, Cgroups};
use sandscope_engine::{EngineError, Notice};
use sandscope_model::SandboxId;
use sandscope_tasks::Tasks;
use tokio::sync::{mpsc, watch};

use super::affinity::Processors;
use super::busy::Busy;
use super::client::LauncherClient;
use super::layout::Layout;
use super::options::LinuxOptions;
use super::pools::KernelMemory;
use super::prepare::Preparer;
use super::removal::Remover;
use super::room::Room;
use super::sandboxes::Sandboxes;
use super::step::{blocking, cgroup_step, step};
use super::warm::Shelf;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) layout: Arc<Layout>,
    pub(super) cgroups: Arc<Cgroups>,
    pub(super) launcher: Arc<LauncherClient>,
    pub(super) preparer: Arc<Preparer>,
    pub(super) remover: Remover,
    pub(super) shelf: Arc<Shelf>,
    pub(super) sandboxes: Arc<Sandboxes>,
    pub(super) room: Arc<Room>,
    /// Sandboxes being made or removed.
    pub(super) busy: Busy,
    /// What is said of the kernel's memory.
    pub(super) kernel_memory: watch::Sender<KernelMemory>,
    /// Who watches what never ends.
    pub(super) tasks: Tasks,
}

impl Shared {
    /// Takes the state directory and the control groups, and prepares what every sandbox starts from.
    ///
    /// # Errors
    ///
    /// Another server uses the directory, or the host refuses.
    pub(super) async fn open(
        options: LinuxOptions,
        notices: mpsc::Sender<Notice>,
        tasks: Tasks,
    ) -> Result<Self, EngineError> {
        let state_dir = options.state_dir.clone();
        let cgroup_options = CgroupOptions {
            parent: options.cgroup_parent.clone(),
            owner: Some(options.owner.clone()),
            limits_device_rates: !options.disk_rates.is_none(),
        };
        let reserve = options.disk_reserve_bytes;
        let (layout, base, cgroups, room) = blocking("prepare the state directory", move || {
            let layout = Layout::open(&state_dir).map_err(step("open the state directory"))?;
            let base = sandscope_host_base::prepare(&layout.base_dir())
                .map_err(step("prepare the base file system"))?;
            let cgroups = Cgroups::open(&cgroup_options).map_err(cgroup_step("open control groups"))?;
            let room = Room::open(layout.root(), reserve).map_err(step("look at the host's disk"))?;
            Ok((Arc::new(layout), base, Arc::new(cgroups), Arc::new(room)))
        })
        .await?;
        let launcher = Arc::new(LauncherClient::new(&options));
        let remover = Remover::new(Arc::clone(&layout), Arc::clone(&cgroups));
        let warm = options.warm;
        let preparer = Arc::new(Preparer {
            options,
            layout: Arc::clone(&layout),
            base,
            cgroups: Arc::clone(&cgroups),
            launcher: Arc::clone(&launcher),
            processors: Processors::of_this_process(),
            room: Arc::clone(&room),
            pristine_lock: tokio::sync::Mutex::default(),
        });
        let shelf = Shelf::new(warm, Arc::clone(&layout), Arc::clone(&preparer), remover.clone());
        Ok(Self {
            layout,
            cgroups,
            launcher,
            preparer,
            remover,
            shelf: Arc::new(shelf),
            sandboxes: Arc::new(Sandboxes::new(notices, &tasks)),
            room,
            busy: Busy::default(),
            kernel_memory: watch::Sender::default(),
            tasks,
        })
    }

    /// Removes whatever there is of a sandbox that is in nobody's hands: half made, or found without a record.
    pub(super) async fn remove_remains(&self, id: &SandboxId) {
        let busy = self.busy.with(id);
        let dir = self.layout.sandbox_dir(id);
        self.remover.remove_named(self.cgroups.own_name(id.as_str()), dir, Some(busy)).await;
    }
}
