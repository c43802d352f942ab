//! One sandbox, made for real: what the other checks look at may all be there, and the kernel refuse all the same.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use sandscope_config::Config;
use sandscope_engine_namespaces::linux::{LinuxOptions, NamespacesEngine};
use sandscope_system::SystemClock;
use sandscope_tasks::Tasks;

use super::check::{Check, Severity};
use super::data::nearest;

const NAME: &str = "a sandbox";

/// How long making it may take: on a crowded host the first one takes a while.
const LIMIT: Duration = Duration::from_secs(60);

/// Makes a sandbox of the configured size in a directory of its own beside the data directory, and removes both. Beside
/// `others` that found a problem it is not tried: they say more.
pub(super) async fn check(config: &Config, others: &[Check]) -> Check {
    if others.iter().any(|check| check.severity == Severity::Problem) {
        return Check::warning(
            NAME,
            "not tried, because of the problems above",
            "solve them, and run this again",
        );
    }
    let sandbox = &config.sandbox;
    match try_out(&config.server.data_dir, sandbox.memory_mb, sandbox.disk_mb).await {
        Ok(()) => Check::fine(NAME, "one was made, its agent answered, and it was removed"),
        Err(error) => Check::problem(
            NAME,
            format!("none can be made: {error:#}"),
            "run as root with all capabilities (in a container: privileged); if the cause is another, it is named above",
        ),
    }
}

async fn try_out(data_dir: &Path, memory_mb: u32, disk_mb: u32) -> anyhow::Result<()> {
    let launcher = std::env::current_exe().context("cannot find this program's own file")?;
    let place = Place::make(&nearest(data_dir))?;
    let tasks = Tasks::new(SystemClock);
    let owner = format!("doctor{}", std::process::id());
    let options = LinuxOptions::new(place.0.clone(), launcher, owner);
    let engine = NamespacesEngine::start(options, tasks.clone()).await?;
    let made = tokio::time::timeout(LIMIT, engine.try_out(memory_mb, disk_mb)).await;
    // Also what was being made when the time was over.
    engine.shutdown().await;
    tasks.drain(Duration::from_secs(1)).await;
    made.with_context(|| format!("not within {} s", LIMIT.as_secs()))??;
    Ok(())
}

/// A directory of our own, removed when dropped.
struct Place(PathBuf);

impl Place {
    fn make(beside: &Path) -> anyhow::Result<Self> {
        let dir = beside.join(format!(".sandscope-doctor-{}", std::process::id()));
        std::fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left is named after this program, and harmless.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
