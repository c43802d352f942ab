//! A launcher, and a server small enough to be killed, for the tests of this crate.
//!
//! `sandscope-test-launcher make <state directory> <control group> <owner> <sandbox id>…` makes the sandboxes, says `ready`
//! and then does nothing until it is ended.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use sandscope_engine::{Engine as _, LaunchSpec};
use sandscope_engine_namespaces::linux::{LinuxOptions, NamespacesEngine, launcher_main};
use sandscope_model::{Entropy, ExecutionId, Rootfs, TemplateId};
use sandscope_tasks::{Sleep, Tasks, Timer};

#[derive(Debug)]
struct Zeros;

impl Entropy for Zeros {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    launcher_main(arguments.get(1).map(AsRef::as_ref));
    let [_, command, state_dir, cgroup_parent, owner, ids @ ..] = arguments.as_slice() else {
        return Err("no action given".into());
    };
    if command != "make" {
        return Err("the only command is `make`".into());
    }
    let mut options = LinuxOptions::new(state_dir.into(), std::env::current_exe()?, owner.clone());
    options.cgroup_parent = cgroup_parent.into();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?
        .block_on(serve(options, ids))
}

/// The host's time.
struct SystemTimer;

impl Timer for SystemTimer {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn uptime(&self) -> Duration {
        let read = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::from_secs(u64::try_from(read.tv_sec).unwrap_or(0))
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

async fn serve(options: LinuxOptions, ids: &[String]) -> Result<(), Box<dyn Error>> {
    let runtime = NamespacesEngine::start(options, Tasks::new(SystemTimer)).await?;
    runtime.recover().await?;
    for id in ids {
        let spec = LaunchSpec {
            id: id.parse()?,
            execution_id: ExecutionId::generate(&Zeros),
            template_id: TemplateId::generate(&Zeros),
            rootfs: Rootfs::Host,
            vcpu_count: 1,
            memory_mb: 128,
            disk_mb: 64,
            env_vars: BTreeMap::new(),
            access_token: None,
        };
        runtime.create(&spec).await?;
    }
    writeln!(std::io::stdout(), "ready")?;
    std::future::pending::<()>().await;
    Ok(())
}
