//! Making a sandbox, as the server sees it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use sandscope_cgroup::CgroupSet;
use sandscope_engine::{EngineError, LaunchSpec};
use sandscope_model::Secret;
use sandscope_proc_view::Size;

use super::baseline::Baseline;
use super::disk_rates;
use super::prepare::Prepared;
use super::protocol::Made;
use super::record::{self, GROUP_FILE, SANDBOX_FILE, SandboxRecord};
use super::removal::removed;
use super::sandbox::Sandbox;
use super::shared::Shared;
use super::step::{blocking, cgroup_step, step};

/// Makes the sandbox and lists it. What a failure leaves is removed.
pub(super) async fn create(shared: &Shared, spec: &LaunchSpec) -> Result<(), EngineError> {
    if shared.sandboxes.get(&spec.id).is_some() {
        return Ok(());
    }
    let _until_made = shared.busy.with(&spec.id);
    let outcome = make(shared, spec).await;
    if outcome.is_err() {
        shared.remove_remains(&spec.id).await;
    }
    outcome
}

async fn make(shared: &Shared, spec: &LaunchSpec) -> Result<(), EngineError> {
    let _under_way = shared.shelf.creating();
    drop(shared.room.take(0)?);
    let image = shared.preparer.image(spec).await?;
    let bytes = std::fs::metadata(&image).map_err(step("look at the image"))?.blocks().saturating_mul(512);
    let _until_copied = shared.room.take(bytes)?;
    let body = sandscope_agent_link::init_body(spec)
        .map_err(io::Error::from)
        .map_err(step("prepare the initialisation"))?;
    if let Some(prepared) = shared.shelf.take_fitting(spec) {
        let group = prepared.cgroup.name().to_owned();
        match assign(shared, prepared, spec, body.clone()).await {
            Ok(()) => return Ok(()),
            Err(error) => {
                tracing::warn!(sandbox_id = %spec.id, group, %error, "made ahead in vain; making another");
                // It has its new name or still the old one.
                let dirs = [shared.layout.sandbox_dir(&spec.id), shared.layout.warm_dir().join(&group)];
                let remover = shared.remover.clone();
                let remove = move || dirs.iter().for_each(|dir| remover.remove_both(&group, dir));
                if !removed(shared.remover.away(remove)).await {
                    // Done later, it would take the other's directory.
                    return Err(error);
                }
            }
        }
    }
    let dir = shared.layout.sandbox_dir(&spec.id);
    let limits = shared.preparer.limits(spec.vcpu_count, spec.memory_mb);
    let group = shared.cgroups.own_name(spec.id.as_str());
    let prepared = shared.preparer.prepare(group, dir, image, spec.memory_mb, limits).await?;
    begin(shared, prepared, spec, body).await
}

/// Gives one that was made ahead what is the sandbox's own.
async fn assign(
    shared: &Shared,
    mut prepared: Prepared,
    spec: &LaunchSpec,
    body: bytes::Bytes,
) -> Result<(), EngineError> {
    let limits = shared.preparer.limits(spec.vcpu_count, spec.memory_mb);
    let dir = shared.layout.sandbox_dir(&spec.id);
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
    begin(shared, prepared, spec, body).await
}

/// Records the sandbox, sends its agent the first message, and lists it.
async fn begin(
    shared: &Shared,
    prepared: Prepared,
    spec: &LaunchSpec,
    body: bytes::Bytes,
) -> Result<(), EngineError> {
    let Prepared { dir, cgroup, made, live, boot_token } = prepared;
    let baseline = Baseline::take(&cgroup, live.loop_device);
    let size = Size { n_cpus: spec.vcpu_count, memory_mb: spec.memory_mb };
    let record = record_of(&made, &cgroup, baseline, size, &boot_token)?;
    let rates = shared.preparer.options.disk_rates;
    let sandbox = Arc::new(Sandbox::new(spec.id.clone(), dir.clone(), cgroup, baseline, Some(live), rates));
    let live = sandbox.live().ok_or(EngineError::AgentUnresponsive)?;
    let (filled, limited, preparer) = (Arc::clone(&live), Arc::clone(&sandbox), Arc::clone(&shared.preparer));
    let durable = blocking("record the sandbox", move || {
        // Nothing but the agent runs in it yet.
        let assigned = preparer.processors.assign(record.made.init.pid, size.n_cpus);
        assigned.map_err(step("choose the sandbox's processors"))?;
        disk_rates::set(&limited.cgroup, filled.loop_device, rates)
            .map_err(cgroup_step("limit the sandbox's disk"))?;
        filled.fill_view(size, &record.made).map_err(step("write the files for /proc"))?;
        write_record(&dir, &record)
    });
    let answers = shared.preparer.initialise(&live, body, &boot_token);
    tokio::try_join!(durable, answers)?;
    shared.room.welcome(&sandbox);
    shared.sandboxes.adopt(sandbox);
    Ok(())
}

fn record_of(
    made: &Made,
    cgroup: &CgroupSet,
    baseline: Baseline,
    size: Size,
    token: &Secret,
) -> Result<SandboxRecord, EngineError> {
    Ok(SandboxRecord {
        boot_id: record::boot_id().map_err(step("read the boot id"))?,
        made: made.clone(),
        cgroup_name: cgroup.name().to_owned(),
        cgroup_dirs: cgroup.dirs().map(Path::to_owned).collect(),
        baseline,
        size: Some(size),
        boot_token: token.clone(),
    })
}

/// Makes the record last before the sandbox counts as made. It needs no second name: half of one does not parse, and
/// a sandbox without a readable record is removed at the next start.
fn write_record(dir: &Path, record: &SandboxRecord) -> Result<(), EngineError> {
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
