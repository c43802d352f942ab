//! Schema changes, embedded and applied when a file is opened.
//!
//! `PRAGMA user_version` counts the applied steps. A step is never edited once released. A change that moves data
//! takes three releases: *expand* (add the new shape, write both), *move* (copy what is there in batches), *contract*
//! (drop the old shape), so that the version before can still open the file after each of them but the last.

use rusqlite::Connection;

use crate::StoreError;
use crate::sqlite::row::only;

/// The schema of one file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schema {
    /// The file's name in the data directory.
    pub(crate) file: &'static str,
    /// The names of its threads, the writer's first.
    pub(crate) threads: [&'static str; 2],
    /// SQL of every step, oldest first.
    pub(crate) steps: &'static [&'static str],
    /// `FULL`: durable before the answer; `NORMAL`: a power cut may take the last transactions.
    pub(crate) synchronous: &'static str,
}

pub(crate) const FACTS: Schema = Schema {
    file: "facts.sqlite",
    threads: ["store-facts-writer", "store-facts-readers"],
    steps: &[
        include_str!("migrations/facts_0001.sql"),
        include_str!("migrations/facts_0002.sql"),
        include_str!("migrations/facts_0003.sql"),
        include_str!("migrations/facts_0004.sql"),
        include_str!("migrations/facts_0005.sql"),
        include_str!("migrations/facts_0006.sql"),
        include_str!("migrations/facts_0007.sql"),
        include_str!("migrations/facts_0008.sql"),
        include_str!("migrations/facts_0009.sql"),
        include_str!("migrations/facts_0010.sql"),
        include_str!("migrations/facts_0011.sql"),
        include_str!("migrations/facts_0012.sql"),
    ],
    synchronous: "FULL",
};
pub(crate) const ATTEMPTS: Schema = Schema {
    file: "attempts.sqlite",
    threads: ["store-attempts-writer", "store-attempts-readers"],
    steps: &[include_str!("migrations/attempts_0001.sql"), include_str!("migrations/attempts_0002.sql")],
    synchronous: "NORMAL",
};
pub(crate) const SAMPLES: Schema = Schema {
    file: "samples.sqlite",
    threads: ["store-samples-writer", "store-samples-readers"],
    steps: &[
        include_str!("migrations/samples_0001.sql"),
        include_str!("migrations/samples_0002.sql"),
        include_str!("migrations/samples_0003.sql"),
    ],
    synchronous: "NORMAL",
};
pub(crate) const LOGS: Schema = Schema {
    file: "logs.sqlite",
    threads: ["store-logs-writer", "store-logs-readers"],
    steps: &[include_str!("migrations/logs_0001.sql"), include_str!("migrations/logs_0002.sql")],
    synchronous: "NORMAL",
};

fn version(connection: &Connection) -> Result<u32, StoreError> {
    Ok(connection.query_row("PRAGMA user_version", [], only)?)
}

/// Whether the file is exactly at the version known here; an error if it is newer.
pub(crate) fn is_current(connection: &Connection, schema: &Schema) -> Result<bool, StoreError> {
    let found = version(connection)?;
    let known = u32::try_from(schema.steps.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(StoreError::TooNew { file: schema.file, found, known });
    }
    Ok(found == known)
}

/// Brings the file up to date. Two processes may do so at once: the second finds nothing left to do.
pub(crate) fn migrate(connection: &mut Connection, schema: &Schema) -> Result<(), StoreError> {
    if is_current(connection, schema)? {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let applied = usize::try_from(version(&transaction)?).unwrap_or(usize::MAX);
    for (index, step) in schema.steps.iter().enumerate().skip(applied) {
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", u32::try_from(index + 1).unwrap_or(u32::MAX))?;
    }
    Ok(transaction.commit()?)
}
