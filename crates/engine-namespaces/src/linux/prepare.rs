//! Making a sandbox up to where its agent has been started and not yet configured.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sandscope_agent_protocol::AGENT_PORT;
use sandscope_cgroup::{CgroupSet, Cgroups, Limits};
use sandscope_engine::{DialFailure, EngineError, LaunchSpec};
use sandscope_host_base::BaseTree;
use sandscope_model::{Rootfs, Secret};
use tokio::net::TcpStream;

use super::affinity::Processors;
use super::client::LauncherClient;
use super::dial::dial;
use super::handles::Handles;
use super::layout::Layout;
use super::options::LinuxOptions;
use super::protocol::{COPY_DISK, Done, Failure, Made, MakeRequest, Operation};
use super::room::Room;
use super::step::{blocking, cgroup_step, step};
use super::{disk, layout};

/// Pauses between looks whether the agent listens yet.
const FIRST_PAUSE: Duration = Duration::from_micros(300);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// A sandbox that runs, and is nobody's yet.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) dir: PathBuf,
    pub(super) cgroup: sandscope_cgroup::CgroupSet,
    pub(super) made: Made,
    pub(super) live: Handles,
    pub(super) boot_token: Secret,
}

/// Makes them.
#[derive(Debug)]
pub(super) struct Preparer {
    pub(super) options: LinuxOptions,
    pub(super) layout: Arc<Layout>,
    pub(super) base: BaseTree,
    pub(super) cgroups: Arc<Cgroups>,
    pub(super) launcher: Arc<LauncherClient>,
    pub(super) processors: Processors,
    pub(super) room: Arc<Room>,
    /// One image of each size is made at a time.
    pub(super) pristine_lock: tokio::sync::Mutex<()>,
}

impl Preparer {
    /// Makes a sandbox whose agent has been started and not yet configured. `name` is that of its control groups. What
    /// a failure leaves is the caller's to remove.
    pub(super) async fn prepare(
        &self,
        name: String,
        dir: PathBuf,
        image: PathBuf,
        memory_mb: u32,
        limits: Limits,
    ) -> Result<Prepared, EngineError> {
        let boot_token = sandscope_agent_link::draw_boot_token().map_err(step("draw the boot token"))?;
        let (cgroup, join_files) = self.prepare_groups(name.clone(), dir.clone(), limits).await?;
        let request = MakeRequest {
            id: name,
            hostname: self.options.hostname.clone(),
            dir: dir.clone(),
            disks_dir: self.layout.disks_dir(),
            image,
            base: self.base.clone(),
            has_unified_cgroup: cgroup.unified_dir().is_some(),
            cgroup_name: cgroup.name().to_owned(),
            memory_mb,
            boot_token: boot_token.clone(),
        };
        let fds: Vec<_> =
            cgroup.unified_dir().into_iter().chain(join_files.iter().map(AsFd::as_fd)).collect();
        let answer = self.launcher.call(Operation::Make(Box::new(request)), &fds).await;
        let (made, live) = take_made(answer.map_err(|failure| refine(&failure))?)?;
        Ok(Prepared { dir, cgroup, made, live, boot_token })
    }

    /// The image the sandbox's disk is copied from.
    pub(super) async fn image(&self, spec: &LaunchSpec) -> Result<PathBuf, EngineError> {
        let Rootfs::Snapshot(build) = spec.rootfs else { return self.pristine(spec.disk_mb).await };
        let image = self.layout.snapshot(build);
        if image.exists() { Ok(image) } else { Err(EngineError::SnapshotMissing) }
    }

    /// An empty image of that size, made at the first need.
    pub(super) async fn pristine(&self, disk_mb: u32) -> Result<PathBuf, EngineError> {
        if !self.base.skeleton.is_dir() {
            return Err(EngineError::BaseMissing);
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

    /// What a sandbox of that size may use.
    pub(super) fn limits(&self, cpu_count: u32, memory_mb: u32) -> Limits {
        Limits { cpu_count, memory_bytes: u64::from(memory_mb) << 20, pids_max: self.options.max_pids }
    }

    async fn prepare_groups(
        &self,
        name: String,
        dir: PathBuf,
        limits: Limits,
    ) -> Result<(CgroupSet, Vec<OwnedFd>), EngineError> {
        let cgroups = Arc::clone(&self.cgroups);
        blocking("prepare the sandbox", move || {
            layout::make_dir(&dir).map_err(step("make the sandbox's directory"))?;
            let cgroup = cgroups.create(&name).map_err(cgroup_step("make the sandbox's control groups"))?;
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

    /// Gives the agent its identity as soon as it listens.
    pub(super) async fn initialise(
        &self,
        live: &Handles,
        body: bytes::Bytes,
        boot_token: &Secret,
    ) -> Result<(), EngineError> {
        let answers = async {
            let stream = self.wait_for_agent(live).await?;
            let initialised = sandscope_agent_link::initialise(stream.into(), body, boot_token).await;
            initialised.map_err(io::Error::other).map_err(step("initialise the agent"))
        };
        self.within_limit(answers).await
    }

    /// Connects to the agent as soon as it listens.
    pub(super) async fn wait_for_agent(&self, live: &Handles) -> Result<TcpStream, EngineError> {
        let connected = async {
            let mut pause = FIRST_PAUSE;
            loop {
                match dial(&self.launcher, live, AGENT_PORT).await {
                    Ok(stream) => return Ok(stream),
                    Err(DialFailure::PortClosed) => {}
                    Err(DialFailure::NotRunning) => return Err(EngineError::AgentUnresponsive),
                    Err(DialFailure::Broken(source)) => {
                        return Err(EngineError::Step { step: "reach the agent", source });
                    }
                }
                if live.has_ended() {
                    return Err(EngineError::Step {
                        step: "start the agent",
                        source: io::Error::other("it ended at once"),
                    });
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        };
        self.within_limit(connected).await
    }

    /// Waits for the agent as long as it may take. A limit of zero leaves it no time at all: the runtime's timer would
    /// round it up to a millisecond, in which an agent may answer.
    async fn within_limit<T>(
        &self,
        answer: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let limit = self.options.agent_limit;
        if limit.is_zero() {
            return Err(EngineError::AgentUnresponsive);
        }
        tokio::time::timeout(limit, answer).await.unwrap_or(Err(EngineError::AgentUnresponsive))
    }
}

fn take_made((done, fds): (Done, Vec<OwnedFd>)) -> Result<(Made, Handles), EngineError> {
    let unexpected = || step("make the sandbox")(io::ErrorKind::InvalidData.into());
    let Done::Made(made) = done else { return Err(unexpected()) };
    let fds = <[OwnedFd; 5]>::try_from(fds).map_err(|_| unexpected())?;
    let live = Handles::new(&made, fds).map_err(step("hold the sandbox"))?;
    Ok((made, live))
}

/// Distinguishes a full host from a broken one.
fn refine(failure: &Failure) -> EngineError {
    const FULL: [i32; 2] = [libc::ENOSPC, libc::EDQUOT];
    // `EAGAIN` is what the kernel answers where there may be no further process.
    const EXHAUSTED: [i32; 7] =
        [libc::ENOSPC, libc::ENOMEM, libc::EMFILE, libc::ENFILE, libc::EDQUOT, libc::EUSERS, libc::EAGAIN];
    if failure.errno.is_some_and(|errno| FULL.contains(&errno)) && failure.step == COPY_DISK {
        return EngineError::DiskFull(failure.to_string());
    }
    if failure.errno.is_some_and(|errno| EXHAUSTED.contains(&errno)) {
        return EngineError::NoCapacity(failure.to_string());
    }
    step("make the sandbox")(io::Error::other(failure.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(step: &str, errno: i32) -> EngineError {
        refine(&Failure { errno: Some(errno), ..Failure::new(step, "refused") })
    }

    #[test]
    fn a_full_host_is_no_broken_one() {
        for errno in [libc::EAGAIN, libc::ENOMEM, libc::EMFILE, libc::ENFILE, libc::EUSERS, libc::ENOSPC] {
            assert!(matches!(refused("start a shim", errno), EngineError::NoCapacity(_)), "{errno}");
        }
        assert!(matches!(refused(COPY_DISK, libc::ENOSPC), EngineError::DiskFull(_)));
        assert!(matches!(refused("start a shim", libc::EPERM), EngineError::Step { .. }));
    }
}
