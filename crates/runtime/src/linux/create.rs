//! Making a sandbox, as the server sees it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sandscope_cgroup::{CgroupSet, Limits};
use sandscope_model::{Rootfs, Secret};
use tokio::net::TcpStream;

use super::details::Baseline;
use super::protocol::{COPY_DISK, Done, Failure, Made, MakeRequest, Operation};
use super::record::{self, SANDBOX_FILE, SandboxRecord};
use super::runtime::{Shared, blocking, step};
use super::sandbox::{Live, Sandbox, cgroup_step};
use super::warm::{GROUP_FILE, Prepared};
use super::{agent, disk, layout};
use crate::{ConnectError, LaunchSpec, RuntimeError};

/// Pauses between looks whether the agent listens yet.
const FIRST_PAUSE: Duration = Duration::from_micros(300);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

impl Shared {
    pub(super) async fn create(self: &Arc<Self>, spec: &LaunchSpec) -> Result<(), RuntimeError> {
        if self.sandbox(&spec.id).is_some() {
            return Ok(());
        }
        let _until_made = self.busy.with(&spec.id);
        let outcome = self.make(spec).await;
        if outcome.is_err() {
            self.remove_remains(&spec.id).await;
        }
        outcome
    }

    async fn make(self: &Arc<Self>, spec: &LaunchSpec) -> Result<(), RuntimeError> {
        let _under_way = self.shelf.creating();
        let image = self.image(spec).await?;
        let body = agent::init_request(spec).map_err(step("prepare the initialisation"))?;
        if let Some(prepared) = self.take_warm(spec) {
            let group = prepared.cgroup.name().to_owned();
            match self.assign(prepared, spec, body.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::warn!(sandbox_id = %spec.id, group, %error, "made ahead in vain; making another");
                    self.remove_named(group, self.layout.sandbox_dir(&spec.id)).await;
                }
            }
        }
        let dir = self.layout.sandbox_dir(&spec.id);
        let limits = self.limits(spec.vcpu_count, spec.memory_mb);
        let prepared = self.prepare(spec.id.to_string(), dir, image, spec.memory_mb, limits).await?;
        self.begin(prepared, spec, body).await
    }

    /// Gives one that was made ahead what is the sandbox's own.
    async fn assign(
        self: &Arc<Self>,
        mut prepared: Prepared,
        spec: &LaunchSpec,
        body: bytes::Bytes,
    ) -> Result<(), RuntimeError> {
        let limits = self.limits(spec.vcpu_count, spec.memory_mb);
        let dir = self.layout.sandbox_dir(&spec.id);
        let prepared = blocking("take a sandbox made ahead", move || {
            prepared.cgroup.set_limits(&limits).map_err(cgroup_step("limit the sandbox"))?;
            prepared.cgroup.reset_peak();
            // What is found under the new name must lead to the groups, whatever happens from here on.
            std::fs::write(prepared.dir.join(GROUP_FILE), prepared.cgroup.name())
                .and_then(|()| std::fs::rename(&prepared.dir, &dir))
                .map_err(step("name the sandbox's directory"))?;
            prepared.dir = dir;
            Ok(prepared)
        })
        .await?;
        self.begin(prepared, spec, body).await
    }

    /// Records the sandbox, tells its agent who it is, and lists it.
    async fn begin(
        self: &Arc<Self>,
        prepared: Prepared,
        spec: &LaunchSpec,
        body: bytes::Bytes,
    ) -> Result<(), RuntimeError> {
        let Prepared { dir, cgroup, made, live, boot_token } = prepared;
        let baseline = Baseline::take(&cgroup, &live);
        let record = record_of(&made, &cgroup, baseline, &boot_token)?;
        let sandbox = Arc::new(Sandbox::new(spec.id.clone(), dir.clone(), cgroup, baseline, Some(live)));
        let durable = blocking("record the sandbox", move || write_record(&dir, &record));
        let answers = self.initialise(&sandbox, body, &boot_token);
        tokio::try_join!(durable, answers)?;
        self.adopt(sandbox);
        Ok(())
    }

    /// Makes a sandbox whose agent has been started and told nothing yet. `name` is that of its control groups. What
    /// a failure leaves is the caller's to remove.
    pub(super) async fn prepare(
        self: &Arc<Self>,
        name: String,
        dir: PathBuf,
        image: PathBuf,
        memory_mb: u32,
        limits: Limits,
    ) -> Result<Prepared, RuntimeError> {
        let boot_token = agent::draw_boot_token().map_err(step("draw the boot token"))?;
        let (cgroup, join_files) = self.prepare_groups(name.clone(), dir.clone(), limits).await?;
        let request = MakeRequest {
            id: name,
            hostname: self.options.hostname.clone(),
            dir: dir.clone(),
            image,
            base: self.base.clone(),
            has_unified_cgroup: cgroup.unified_dir().is_some(),
            cgroup_name: cgroup.name().to_owned(),
            shm_mb: (memory_mb / 2).max(1),
            boot_token: boot_token.clone(),
        };
        let fds: Vec<_> =
            cgroup.unified_dir().into_iter().chain(join_files.iter().map(AsFd::as_fd)).collect();
        let answer = self.launcher.call(Operation::Make(Box::new(request)), &fds).await;
        let (made, live) = take_made(answer.map_err(|failure| refine(&failure))?)?;
        Ok(Prepared { dir, cgroup, made, live, boot_token })
    }

    /// The image the sandbox's disk is copied from.
    async fn image(&self, spec: &LaunchSpec) -> Result<PathBuf, RuntimeError> {
        let Rootfs::Snapshot(build) = spec.rootfs else { return self.pristine(spec.disk_mb).await };
        let image = self.layout.snapshot(build);
        if image.exists() { Ok(image) } else { Err(RuntimeError::SnapshotMissing) }
    }

    /// An empty image of that size, made at the first need.
    pub(super) async fn pristine(&self, disk_mb: u32) -> Result<PathBuf, RuntimeError> {
        if !self.base.skeleton.is_dir() {
            return Err(RuntimeError::BaseMissing);
        }
        let image = self.layout.pristine_image(disk_mb);
        if !image.exists() {
            let _one_at_a_time = self.pristine_lock.lock().await;
            if !image.exists() {
                disk::make_pristine(&image, disk_mb).await.map_err(step("make a disk image"))?;
            }
        }
        Ok(image)
    }

    pub(super) fn limits(&self, cpu_count: u32, memory_mb: u32) -> Limits {
        Limits { cpu_count, memory_bytes: u64::from(memory_mb) << 20, pids_max: self.options.max_pids }
    }

    async fn prepare_groups(
        self: &Arc<Self>,
        name: String,
        dir: PathBuf,
        limits: Limits,
    ) -> Result<(CgroupSet, Vec<OwnedFd>), RuntimeError> {
        let shared = Arc::clone(self);
        blocking("prepare the sandbox", move || {
            layout::make_dir(&dir).map_err(step("make the sandbox's directory"))?;
            let cgroup =
                shared.cgroups.create(&name).map_err(cgroup_step("make the sandbox's control groups"))?;
            if !dir.is_dir() {
                // Given up meanwhile, and removed: nobody would find the groups any more.
                let _first_error_says_more = cgroup.remove(Duration::ZERO);
                return Err(step("make the sandbox")(io::ErrorKind::Interrupted.into()));
            }
            cgroup.set_limits(&limits).map_err(cgroup_step("limit the sandbox"))?;
            let files = cgroup.v1_join_files().map_err(cgroup_step("open the sandbox's control groups"))?;
            Ok((cgroup, files.into_iter().map(|file| file.fd).collect()))
        })
        .await
    }

    /// Tells the agent who it is, as soon as it listens.
    async fn initialise(
        &self,
        sandbox: &Sandbox,
        body: bytes::Bytes,
        boot_token: &Secret,
    ) -> Result<(), RuntimeError> {
        let live = sandbox.live().ok_or(RuntimeError::AgentUnresponsive)?;
        let answers = async {
            let stream = self.wait_for_agent(&live).await?;
            agent::initialise(stream, body, boot_token).await.map_err(step("initialise the agent"))
        };
        let limit = self.options.agent_limit;
        tokio::time::timeout(limit, answers).await.unwrap_or(Err(RuntimeError::AgentUnresponsive))
    }

    /// Connects to the agent as soon as it listens.
    pub(super) async fn wait_for_agent(&self, live: &Live) -> Result<TcpStream, RuntimeError> {
        let connected = async {
            let mut pause = FIRST_PAUSE;
            loop {
                match self.dial_live(live, sandscope_agent_protocol::AGENT_PORT).await {
                    Ok(stream) => return Ok(stream),
                    Err(ConnectError::PortClosed) => {}
                    Err(ConnectError::NotRunning) => return Err(RuntimeError::AgentUnresponsive),
                    Err(ConnectError::Socket(source)) => {
                        return Err(RuntimeError::Step { step: "reach the agent", source });
                    }
                }
                if live.has_ended() {
                    return Err(RuntimeError::Step {
                        step: "start the agent",
                        source: io::Error::other("it ended at once"),
                    });
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        };
        let limit = self.options.agent_limit;
        tokio::time::timeout(limit, connected).await.unwrap_or(Err(RuntimeError::AgentUnresponsive))
    }
}

fn take_made((done, fds): (Done, Vec<OwnedFd>)) -> Result<(Made, Live), RuntimeError> {
    let unexpected = || step("make the sandbox")(io::ErrorKind::InvalidData.into());
    let Done::Made(made) = done else { return Err(unexpected()) };
    let fds = <[OwnedFd; 4]>::try_from(fds).map_err(|_| unexpected())?;
    let live = Live::new(&made, fds).map_err(step("hold the sandbox"))?;
    Ok((made, live))
}

fn record_of(
    made: &Made,
    cgroup: &CgroupSet,
    baseline: Baseline,
    token: &Secret,
) -> Result<SandboxRecord, RuntimeError> {
    Ok(SandboxRecord {
        boot_id: record::boot_id().map_err(step("read the boot id"))?,
        made: made.clone(),
        cgroup_name: cgroup.name().to_owned(),
        cgroup_dirs: cgroup.dirs().map(Path::to_owned).collect(),
        baseline,
        boot_token: token.clone(),
    })
}

/// Makes the record last before the sandbox counts as made. It needs no second name: half of one does not parse, and
/// a sandbox without a readable record is removed at the next start.
fn write_record(dir: &Path, record: &SandboxRecord) -> Result<(), RuntimeError> {
    let write = || -> io::Result<()> {
        let path = dir.join(SANDBOX_FILE);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        file.sync_all()?;
        // The directories' entries must last as well; most file systems have written them with the file.
        File::open(dir)?.sync_all()?;
        dir.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    };
    write().map_err(step("record the sandbox"))
}

/// Tells a full host from a broken one.
fn refine(failure: &Failure) -> RuntimeError {
    const FULL: [i32; 2] = [libc::ENOSPC, libc::EDQUOT];
    const EXHAUSTED: [i32; 6] =
        [libc::ENOSPC, libc::ENOMEM, libc::EMFILE, libc::ENFILE, libc::EDQUOT, libc::EUSERS];
    if failure.errno.is_some_and(|errno| FULL.contains(&errno)) && failure.step == COPY_DISK {
        return RuntimeError::DiskFull(failure.to_string());
    }
    if failure.errno.is_some_and(|errno| EXHAUSTED.contains(&errno)) {
        return RuntimeError::NoCapacity(failure.to_string());
    }
    step("make the sandbox")(io::Error::other(failure.to_string()))
}
