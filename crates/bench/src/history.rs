use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sandscope_client::EventQuery;
use sandscope_model::{Clock as _, Team, TeamId, TeamLimits, keys};
use sandscope_store::{NewApiKey, Store};

use super::fill::fill_log;
use super::{Child, Row, quantiles, row};
use sandscope_console::output;
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
    fill(&directory.path().join("data"), key.clone(), n).await?;
    let per_second = n as f64 / began.elapsed().as_secs_f64();

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
            anyhow::ensure!(page.len() == n.min(limit as usize), "a page of {} events", page.len());
        }
        rows.push(row(
            format!("/events/sandboxes?limit={limit} of {n}"),
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
        store.facts.create_team(team()).await?;
        durations.push(began.elapsed());
    }
    store.close().await;
    Ok(row("one durable commit, alone", quantiles::describe(&mut durations), "a create waits for two"))
}

/// Makes a store with `n` events of one team, whose key is `key`.
async fn fill(directory: &Path, key: sandscope_model::Secret, n: usize) -> anyhow::Result<()> {
    let store = Store::open(directory, Arc::new(SystemClock))?;
    let now = SystemClock.now();
    let team = team();
    let team_id = team.id;
    let fresh = keys::describe(key, team_id, "bench", now, &OsEntropy);
    store.facts.ensure_first_team(team, NewApiKey { key: fresh.key, hash: fresh.hash }).await?;
    fill_log(&store.facts, team_id, n, N_SANDBOXES).await?;
    store.close().await;
    Ok(())
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
