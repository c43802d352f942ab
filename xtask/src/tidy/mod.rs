//! House rules that need no compiler: `cargo xtask tidy`.
//!
//! Each rule is a file of its own and returns its faults as sentences; all are collected before anything fails. A list
//! of exceptions names each with its reason, and an exception that nothing needs any more is itself a fault.
//!
//! ```text
//! rooms         who depends on whom, as the table of ARCHITECTURE.md says; grants nobody uses
//! absences      what may not be reached at all, crates of others that have one user
//! dials         who opens no connection of its own
//! circles       which files import each other
//! cells         the database's cells are read by name
//! floors        inside a crate, what lies beneath knows nothing of what lies above
//! budget        lines per file and per crate
//! lints         one table of lints, one clippy.toml, `unsafe` in two crates
//! time          domain crates take the time from a `Clock`
//! sleeps        no test sleeps to synchronise
//! duplicates    one version of each crate in the lock file
//! names         no drawers
//! keys          who spells the API's JSON keys
//! ```

mod absences;
mod budget;
mod cells;
mod circles;
mod dials;
mod duplicates;
mod floors;
mod imports;
mod keys;
mod lints;
mod names;
mod rooms;
mod sleeps;
mod source;
mod table;
mod time;
mod workspace;

use anyhow::{Result, bail};

use crate::e2e::Language;

use source::Source;
use workspace::Workspace;

/// Checks every rule.
///
/// # Errors
/// All faults that were found, one a line.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::read()?;
    let files = source::tracked_files()?;
    let sources = Source::read_all(&files)?;
    let mut faults = rooms::faults(&workspace)?;
    faults.extend(absences::faults(&workspace));
    faults.extend(lints::faults(&workspace, &files, &sources)?);
    faults.extend(budget::faults(&sources));
    faults.extend(sources.iter().filter_map(cells::fault));
    faults.extend(sources.iter().filter_map(dials::fault));
    faults.extend(circles::faults(&sources));
    faults.extend(floors::faults(&sources));
    faults.extend(time::faults(&sources));
    faults.extend(sleeps::faults(&sources, &files)?);
    faults.extend(keys::faults(&sources));
    faults.extend(duplicates::faults()?);
    faults.extend(files.iter().filter_map(|file| names::fault(file)));
    faults.extend(
        Language::ALL.iter().filter_map(|language| language.files().err()).map(|error| format!("{error:#}")),
    );
    if !faults.is_empty() {
        bail!("not tidy:\n  {}", faults.join("\n  "));
    }
    Ok(())
}
