//! `sandscope fsck`: proves that store, kernel and event log agree, or says where they do not.
//!
//! ```text
//!   log ──fold──► what was said ─┐
//!   rows ────────────────────────┼──► compared several times, a moment apart ──► what disagrees every time
//!   kernel (a look, no lock) ────┘
//! ```
//!
//! Beside a running server everything moves while it is read: only what is found in every look, of a row that did not
//! change meanwhile, counts. Without a server nothing moves, and what the next start corrects (a death nobody was there
//! to record, an intent that was cut short) is said as *pending*, which is no disagreement.
//!
//! Changes nothing but what opening the store changes: a schema of an earlier version is brought up to date.

mod host;
mod log;
mod report;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sandscope_model::{Entropy, Sandbox};
use sandscope_store::{Store, StoreOptions};

use crate::arguments::FsckArgs;
use log::Logs;
use report::{Finding, Report};
use sandscope_config::Config;
use sandscope_data_dir::sealing;
use sandscope_system::{OsEntropy, SystemClock};

/// Looks that must agree on a disagreement: ten seconds' worth, as a busy host takes its time to release things.
const LOOKS: u32 = 20;
/// A database has at least its head.
const LEAST_DATABASE_BYTES: u64 = 100;
/// Between two looks. Nothing is waited for once nothing disagrees.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs the check; success if nothing disagrees.
pub(crate) async fn run(arguments: FsckArgs) -> anyhow::Result<ExitCode> {
    let config = Config::resolve(arguments.settings.with_environment())?;
    let report = check(&config).await?;
    report.print(arguments.json)?;
    Ok(if report.agrees() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Compares everything below the data directory.
async fn check(config: &Config) -> anyhow::Result<Report> {
    let data_dir = config.server.data_dir.as_path();
    anyhow::ensure!(
        data_dir.join("facts.sqlite").is_file(),
        "{} is no data directory of a server: name it with --data-dir",
        data_dir.display()
    );
    // Opening it would make an empty one whole, and agree with it.
    let is_empty = std::fs::metadata(data_dir.join("facts.sqlite"))?.len() < LEAST_DATABASE_BYTES;
    anyhow::ensure!(
        !is_empty,
        "facts.sqlite is empty: it is not what a server left; restore it from a backup"
    );
    let has_server = is_served(data_dir)?;
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let sealer = sealing::opener(data_dir, &config.webhooks.sealing_keys, &entropy)?.map(Arc::new);
    let options = StoreOptions { sealer, ..StoreOptions::default() };
    let store =
        Store::open_options(data_dir, Arc::new(SystemClock), options).context("cannot open the store")?;
    let compared = compare(&store, data_dir, has_server).await;
    store.close().await;
    compared
}

async fn compare(store: &Store, data_dir: &Path, has_server: bool) -> anyhow::Result<Report> {
    let mut report = Report { data_dir: data_dir.to_owned(), has_server, ..Report::default() };
    let mut logs = Logs::open(store).await?;
    let mut standing: Option<BTreeSet<Finding>> = None;
    for look in 0..if has_server { LOOKS } else { 1 } {
        if look > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        logs.read_on(store).await?;
        let rows = store.facts.live_sandboxes().await?;
        let found = look_once(store, data_dir, has_server, &logs, &rows).await?;
        report.n_live = rows.len();
        let standing_now = match standing.take() {
            None => found,
            Some(before) => before.intersection(&found).cloned().collect(),
        };
        let is_done = standing_now.is_empty();
        standing = Some(standing_now);
        if is_done {
            break;
        }
    }
    report.n_teams = logs.n_teams();
    report.n_events = logs.n_events();
    // What contradicts itself in the log does so for good.
    report.findings.extend(logs.take_complaints());
    report.findings.extend(standing.unwrap_or_default());
    Ok(report)
}

async fn look_once(
    store: &Store,
    data_dir: &Path,
    has_server: bool,
    logs: &Logs,
    rows: &[Sandbox],
) -> anyhow::Result<BTreeSet<Finding>> {
    let mut found = BTreeSet::new();
    logs.compare_rows(rows, &mut found);
    logs.compare_webhooks(store, &mut found).await?;
    let layers = store.facts.captured_layers().await?;
    let owner = store.facts.home().await?.map(|home| home.instance);
    let seen = host::look(data_dir.to_owned(), owner).await?;
    host::compare(rows, &layers, &seen, has_server, &mut found);
    Ok(found)
}

/// Whether a server holds the directory. Nothing is held by asking.
pub(crate) fn is_served(data_dir: &Path) -> anyhow::Result<bool> {
    let path: PathBuf = data_dir.join("server.lock");
    let lock = match std::fs::File::open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("cannot open {}", path.display())),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(std::fs::TryLockError::WouldBlock) => Ok(true),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot ask who holds {}", path.display()))
        }
    }
}
