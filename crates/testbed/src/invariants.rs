//! What must hold whenever nothing is under way: the log describes exactly what exists, and everything that exists is
//! in the log.

use std::collections::BTreeMap;

use sandscope_model::{Event, History, LoggedSandbox, Rootfs, Sandbox, SandboxId, State, StateName, TeamId};
use sandscope_store::{Page, SnapshotFilter, Store, StoreError};

use crate::ledger_check::ledger_faults;
use crate::{FakeEngine, Shape};

/// Reads the log as a client would: what is each sandbox's state?
///
/// # Errors
/// Everything in it that contradicts itself: gaps, repetitions, events that cannot follow each other.
pub fn fold(events: &[Event]) -> Result<BTreeMap<SandboxId, LoggedSandbox>, Vec<String>> {
    let mut history = History::after(0);
    let complaints = events.iter().flat_map(|event| history.push(event));
    let wrong: Vec<String> = complaints.map(|complaint| complaint.to_string()).collect();
    if wrong.is_empty() { Ok(history.sandboxes().clone()) } else { Err(wrong) }
}

/// The whole log of a team.
///
/// # Errors
/// If the store cannot be read.
pub async fn whole_log(store: &Store, team: TeamId) -> Result<Vec<Event>, StoreError> {
    let mut log: Vec<Event> = Vec::new();
    loop {
        let last = log.last().map_or(0, |event| event.sequence);
        let page = store.events.events_after(team, last, 1000).await?;
        if page.is_empty() {
            return Ok(log);
        }
        log.extend(page);
    }
}

/// Checks log, rows and host of a system in which nothing is under way, with one team:
/// the log is gapless and folds to exactly the rows' states; the ledger says the same; every live row is on the host in
/// that state and nothing else is; every snapshot's layer is there.
///
/// # Errors
/// Everything that is not so.
pub async fn check_invariants(store: &Store, runtime: &FakeEngine, team: TeamId) -> Result<(), Vec<String>> {
    let unreadable = |error: StoreError| vec![format!("the store cannot be read: {error}")];
    let log = whole_log(store, team).await.map_err(unreadable)?;
    let logged = fold(&log)?;
    let live = store.facts.live_sandboxes().await.map_err(unreadable)?;
    let mut wrong = Vec::new();
    let last = store.events.last_sequence(team).await.map_err(unreadable)?;
    if last != log.len() as u64 {
        wrong.push(format!("the last sequence is {last} in a log of {}", log.len()));
    }
    for sandbox in &live {
        compare_logged(sandbox, logged.get(&sandbox.id), &mut wrong);
    }
    for (id, logged) in &logged {
        let is_live = live.iter().any(|sandbox| sandbox.id == *id);
        if is_live == (logged.state == StateName::Killed) {
            wrong.push(format!("{id} is live: {is_live}, but the log says {}", logged.state));
        }
        if logged.state == StateName::Killed {
            let row = store.facts.sandbox(id).await.map_err(unreadable)?;
            if !row.is_some_and(|row| matches!(row.state, State::Killed { .. })) {
                wrong.push(format!("{id} was reported killed, but its row does not say so"));
            }
        }
    }
    compare_host(&live, runtime, &mut wrong);
    wrong.extend(missing_layers(store, runtime, team).await.map_err(unreadable)?);
    wrong.extend(ledger_faults(store, team, &log, &live).await.map_err(unreadable)?);
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

fn compare_logged(sandbox: &Sandbox, logged: Option<&LoggedSandbox>, wrong: &mut Vec<String>) {
    let (id, state) = (&sandbox.id, sandbox.state.name());
    let Some(logged) = logged else {
        wrong.push(format!("{id} is {state}, but no event says so"));
        return;
    };
    if logged.state != state {
        wrong.push(format!("{id} is {state}, but the log says {}", logged.state));
    }
    if logged.execution_id != sandbox.state.execution_id() {
        wrong.push(format!("{id} is in another execution than the log says"));
    }
    if state == StateName::Running && logged.set_timeout.is_some_and(|logged| logged != sandbox.end_at) {
        wrong.push(format!("{id} ends at {}, but the log says {:?}", sandbox.end_at, logged.set_timeout));
    }
}

fn compare_host(live: &[Sandbox], runtime: &FakeEngine, wrong: &mut Vec<String>) {
    let mut host = runtime.shapes();
    for sandbox in live {
        let shape = host.remove(&sandbox.id);
        let expected = match sandbox.state.name() {
            StateName::Running => Some(Shape::Running),
            StateName::Paused => Some(Shape::Paused),
            _ => None,
        };
        if expected.is_none() || shape != expected {
            wrong.push(format!("{} is {}, on the host it is {shape:?}", sandbox.id, sandbox.state.name()));
        }
    }
    wrong.extend(
        host.into_iter().map(|(id, shape)| format!("{id} is on the host ({shape:?}) without an owner")),
    );
}

async fn missing_layers(
    store: &Store,
    runtime: &FakeEngine,
    team: TeamId,
) -> Result<Vec<String>, StoreError> {
    let layers = runtime.layers();
    let page = Page { after: None, limit: 1000 };
    let snapshots = store.facts.snapshots(team, SnapshotFilter::default(), page).await?;
    let missing = snapshots.into_iter().filter_map(|(template, build, _)| match build.rootfs {
        Rootfs::Snapshot(layer) if !layers.contains(&layer) => {
            Some(format!("snapshot {} has no layer", template.id))
        }
        _ => None,
    });
    Ok(missing.collect())
}
