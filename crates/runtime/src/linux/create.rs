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
use tokio::time::Instant;

use super::protocol::{Done, Failure, Made, MakeRequest, Operation};
use super::record::{self, SANDBOX_FILE, SandboxRecord};
use super::runtime::{Shared, blocking, step};
use super::sandbox::{Live, Sandbox, cgroup_step};
use super::{agent, disk};
use crate::{ConnectError, LaunchSpec, RuntimeError};

/// Pauses between looks whether the agent listens yet.
const FIRST_PAUSE: Duration = Duration::from_micros(300);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

impl Shared {
    pub(super) async fn create(self: &Arc<Self>, spec: &LaunchSpec) -> Result<(), RuntimeError> {
        if self.sandbox(&spec.id).is_some() {
            return Ok(());
        }
        let outcome = self.make(spec).await;
        if outcome.is_err() {
            self.remove_remains(&spec.id).await;
        }
        outcome
    }

    async fn make(self: &Arc<Self>, spec: &LaunchSpec) -> Result<(), RuntimeError> {
        let image = self.image(spec).await?;
        let boot_token = agent::draw_boot_token().map_err(step("draw the boot token"))?;
        let body = agent::init_request(spec).map_err(step("prepare the initialisation"))?;
        let (dir, cgroup, join_files) = self.prepare(spec).await?;
        let request = MakeRequest {
            id: spec.id.to_string(),
            hostname: self.options.hostname.clone(),
            dir: dir.clone(),
            image,
            base: self.base.clone(),
            has_unified_cgroup: cgroup.unified_dir().is_some(),
            cgroup_name: cgroup.name().to_owned(),
            shm_mb: (spec.memory_mb / 2).max(1),
            boot_token: boot_token.clone(),
        };
        let fds: Vec<_> =
            cgroup.unified_dir().into_iter().chain(join_files.iter().map(AsFd::as_fd)).collect();
        let answer = self.launcher.call(Operation::Make(Box::new(request)), &fds).await;
        let (made, live) = take_made(answer.map_err(|failure| refine(&failure))?)?;
        let record = record_of(&made, &cgroup, &boot_token)?;
        let sandbox = Arc::new(Sandbox::new(spec.id.clone(), dir.clone(), cgroup, Some(live)));
        let durable = blocking("record the sandbox", move || write_record(&dir, &record));
        let answers = self.initialise(&sandbox, body, &boot_token);
        tokio::try_join!(durable, answers)?;
        self.adopt(sandbox);
        Ok(())
    }

    /// The image the sandbox's disk is copied from.
    async fn image(&self, spec: &LaunchSpec) -> Result<PathBuf, RuntimeError> {
        if let Rootfs::Snapshot(build) = spec.rootfs {
            let image = self.layout.snapshot(build);
            return if image.exists() { Ok(image) } else { Err(RuntimeError::SnapshotMissing) };
        }
        let image = self.layout.pristine_image(spec.disk_mb);
        if !image.exists() {
            let _one_at_a_time = self.pristine.lock().await;
            if !image.exists() {
                disk::make_pristine(&image, spec.disk_mb).await.map_err(step("make a disk image"))?;
            }
        }
        Ok(image)
    }

    async fn prepare(
        self: &Arc<Self>,
        spec: &LaunchSpec,
    ) -> Result<(PathBuf, CgroupSet, Vec<OwnedFd>), RuntimeError> {
        let (shared, id) = (Arc::clone(self), spec.id.clone());
        let limits = Limits {
            cpu_count: spec.vcpu_count,
            memory_bytes: u64::from(spec.memory_mb) << 20,
            pids_max: self.options.max_pids,
        };
        blocking("prepare the sandbox", move || {
            let dir = shared.layout.make_sandbox_dir(&id).map_err(step("make the sandbox's directory"))?;
            let cgroup = shared
                .cgroups
                .create(id.as_str())
                .map_err(cgroup_step("make the sandbox's control groups"))?;
            cgroup.set_limits(&limits).map_err(cgroup_step("limit the sandbox"))?;
            let files = cgroup.v1_join_files().map_err(cgroup_step("open the sandbox's control groups"))?;
            Ok((dir, cgroup, files.into_iter().map(|file| file.fd).collect()))
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
        let deadline = Instant::now() + self.options.agent_limit;
        let answers = async {
            let mut pause = FIRST_PAUSE;
            let stream = loop {
                match self.dial(sandbox, sandscope_agent_protocol::AGENT_PORT).await {
                    Ok(stream) => break stream,
                    Err(ConnectError::PortClosed) => {}
                    Err(ConnectError::NotRunning) => return Err(RuntimeError::AgentUnresponsive),
                    Err(ConnectError::Socket(source)) => {
                        return Err(RuntimeError::Step { step: "reach the agent", source });
                    }
                }
                if sandbox.live().is_none_or(|live| live.has_ended()) {
                    return Err(RuntimeError::Step {
                        step: "start the agent",
                        source: io::Error::other("it ended at once"),
                    });
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            };
            agent::initialise(stream, body, boot_token).await.map_err(step("initialise the agent"))
        };
        tokio::time::timeout_at(deadline, answers).await.unwrap_or(Err(RuntimeError::AgentUnresponsive))
    }
}

fn take_made((done, fds): (Done, Vec<OwnedFd>)) -> Result<(Made, Live), RuntimeError> {
    let unexpected = || step("make the sandbox")(io::ErrorKind::InvalidData.into());
    let Done::Made(made) = done else { return Err(unexpected()) };
    let [pidfd, shim, network, disk] = <[OwnedFd; 4]>::try_from(fds).map_err(|_| unexpected())?;
    let live = Live::new(pidfd, shim, network, disk).map_err(step("hold the sandbox"))?;
    Ok((made, live))
}

fn record_of(made: &Made, cgroup: &CgroupSet, token: &Secret) -> Result<SandboxRecord, RuntimeError> {
    Ok(SandboxRecord {
        boot_id: record::boot_id().map_err(step("read the boot id"))?,
        made: made.clone(),
        cgroup_name: cgroup.name().to_owned(),
        cgroup_dirs: cgroup.dirs().map(Path::to_owned).collect(),
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
    const EXHAUSTED: [i32; 6] =
        [libc::ENOSPC, libc::ENOMEM, libc::EMFILE, libc::ENFILE, libc::EDQUOT, libc::EUSERS];
    if failure.errno.is_some_and(|errno| EXHAUSTED.contains(&errno)) {
        return RuntimeError::NoCapacity(failure.to_string());
    }
    step("make the sandbox")(io::Error::other(failure.to_string()))
}
