use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sandscope_client::EventQuery;
use sandscope_model::{
    BuildId, Clock as _, EventDraft, EventId, ExecutionId, Fact, KillReason, OnTimeout, Rootfs, Sandbox,
    SandboxId, SandboxSpec, State, Team, TeamId, TeamLimits, TemplateId, Update,
};
use sandscope_store::{Change, NewApiKey, Store};
use tokio::task::JoinSet;

use super::{Child, Row, quantiles, row};
use sandscope_console::output;
use sandscope_model::keys;
use sandscope_system::{OsEntropy, SystemClock};

/// Sandboxes whose history it is: commits at once, as the store groups what is under way.
const N_SANDBOXES: usize = 512;

/// Pages asked for.
const N_PAGES: usize = 500;

/// How deep the history is read by cursor.
const DEPTH: usize = 100_000;

/// Pages out of `n` events.
pub(super) async fn measure(n: usize) -> anyhow::Result<Vec<Row>> {
    let directory = tempfile::Builder::new().prefix("sandscope-bench-").tempdir()?;
    let key = keys::draw(&OsEntropy);
    output::line(format_args!("storing {n} events …"))?;
    let began = Instant::now();
    let n_stored = fill(&directory.path().join("data"), key.clone(), n).await?;
    let per_second = n_stored as f64 / began.elapsed().as_secs_f64();

    let server = Child::start_in(directory, key.expose()).await?;
    let rested = server.rest().await?;
    let newest = |limit| EventQuery { limit, ..EventQuery::default() };
    let mut rows = vec![row(
        "events stored",
        format!("{per_second:.0} /s"),
        format!(
            "{N_SANDBOXES} commits at once, each durable; the next start came to rest within {rested:.1?}"
        ),
    )];
    for limit in [10, 100] {
        let mut durations = Vec::with_capacity(N_PAGES);
        for _ in 0..N_PAGES {
            let began = Instant::now();
            let page = server.client().events(&newest(limit)).await?;
            durations.push(began.elapsed());
            anyhow::ensure!(page.len() == n_stored.min(limit as usize), "a page of {} events", page.len());
        }
        rows.push(row(
            format!("/events/sandboxes?limit={limit} of {n_stored}"),
            quantiles::describe(&mut durations),
            format!("{N_PAGES} requests, one after the other"),
        ));
    }
    let mut query = newest(100);
    let mut durations = Vec::new();
    for _ in 0..DEPTH / 100 {
        let began = Instant::now();
        let page = server.client().event_page(&query).await?;
        durations.push(began.elapsed());
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            break;
        }
    }
    let mut deepest = durations.split_off(durations.len().saturating_sub(N_PAGES));
    rows.push(row(
        format!("  by cursor, down to {DEPTH} deep"),
        quantiles::describe(&mut deepest),
        format!("the last {} pages of 100", deepest.len()),
    ));
    server.stop().await?;
    rows.push(alone().await?);
    Ok(rows)
}

/// One commit after the other: what durability adds to a change that nobody shares its fsync with.
async fn alone() -> anyhow::Result<Row> {
    let directory = tempfile::Builder::new().prefix("sandscope-bench-").tempdir()?;
    let store = Store::open(&directory.path().join("data"), Arc::new(SystemClock))?;
    let mut durations = Vec::with_capacity(N_PAGES);
    for _ in 0..N_PAGES {
        let began = Instant::now();
        store.create_team(team()).await?;
        durations.push(began.elapsed());
    }
    store.close().await;
    Ok(row("one durable commit, alone", quantiles::describe(&mut durations), "a create waits for two"))
}

/// Makes a store with about `n` events of one team, whose key is `key`.
async fn fill(directory: &Path, key: sandscope_model::Secret, n: usize) -> anyhow::Result<usize> {
    let store = Store::open(directory, Arc::new(SystemClock))?;
    let now = SystemClock.now();
    let team = team();
    let team_id = team.id;
    let fresh = keys::describe(key, team_id, "bench", now, &OsEntropy);
    store.ensure_first_team(team, NewApiKey { key: fresh.key, hash: fresh.hash }).await?;
    let mut writers = JoinSet::new();
    let each = n.div_ceil(N_SANDBOXES);
    for _ in 0..N_SANDBOXES {
        writers.spawn(write(store.clone(), team_id, each));
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    store.close().await;
    Ok(each * N_SANDBOXES)
}

pub(super) fn team() -> Team {
    let id = TeamId::generate(&OsEntropy);
    Team {
        id,
        name: "Default".to_owned(),
        slug: id.to_string(),
        limits: TeamLimits::default(),
        created_at: SystemClock.now(),
    }
}

/// One ended sandbox with `n` events.
async fn write(store: Store, team_id: TeamId, n: usize) -> anyhow::Result<()> {
    let mut sandbox = ended(team_id);
    store.admit_sandbox(&sandbox, u32::MAX, None).await?;
    for _ in 0..n {
        let event = event(&sandbox);
        store.commit(Change { sandbox: sandbox.clone(), event: Some(event), snapshot: None }).await?;
        sandbox.generation += 1;
    }
    Ok(())
}

/// Something that happens to `sandbox` now.
pub(super) fn event(sandbox: &Sandbox) -> EventDraft {
    let now = SystemClock.now();
    let moved = Fact::Updated(Update::TimeoutMoved { end_at: now });
    EventDraft::of_sandbox(EventId::generate(&OsEntropy), sandbox, None, moved, now)
}

/// A sandbox that ended.
pub(super) fn ended(team_id: TeamId) -> Sandbox {
    let now = SystemClock.now();
    Sandbox {
        id: SandboxId::generate(&OsEntropy),
        team_id,
        spec: SandboxSpec {
            template_id: TemplateId::generate(&OsEntropy),
            build_id: BuildId::generate(&OsEntropy),
            alias: Some("base".to_owned()),
            rootfs: Rootfs::Host,
            vcpu_count: 2,
            memory_mb: 512,
            disk_mb: 64,
            metadata: [].into(),
            env_vars: [].into(),
            envd_access_token: None,
            traffic_access_token: None,
            timeout_s: 300,
            on_timeout: OnTimeout::Kill,
            auto_resume: false,
            allow_internet_access: None,
            network: None,
        },
        state: State::Killed {
            reason: KillReason::Request,
            exit: None,
            killed_at: now,
            last_execution_id: ExecutionId::generate(&OsEntropy),
        },
        intent_origin: None,
        generation: 0,
        created_at: now,
        started_at: now,
        end_at: now,
    }
}
