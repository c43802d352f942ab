//! The embedded store: the only crate that knows SQL.
//!
//! ```text
//!            facts.sqlite (durable before the answer)   attempts, samples, logs.sqlite (relaxed)
//!            ┌───────────────┬──────────────┐           ┌───────────────┬──────────────┐
//! Store ────►│ 1 writer      │ n readers    │           │ 1 writer      │ n readers    │  × 3
//!            │ group commit  │ WAL snapshot │           └───────────────┴──────────────┘
//!            └──────┬────────┴──────────────┘
//!                   └─ after each commit: the feed of events, the count of webhook changes
//! ```
//!
//! The facts are teams, keys, templates, sandboxes, the log of events and webhooks with their cursors: a change of a
//! sandbox and its event are one transaction. Attempts, samples and logs live in files of their own, so that their bulk
//! neither slows a fact down nor is made durable at a fact's price.
//!
//! Ownership: [`Store`] is a cheap handle; the threads own the connections. Another process may open the same files
//! beside this one (WAL, busy timeout); the feed tells only of this process's commits.
//!
//! Failures: see [`StoreError`]. A full or read-only disk refuses writes and goes on serving reads.

#![warn(clippy::disallowed_methods)]

mod activity;
mod activity_blocks;
mod admission;
mod alert_rules;
mod alerts;
mod attempts;
mod columns;
mod commit;
mod deliveries;
mod error;
mod event_pages;
mod events;
mod exports;
pub mod fault;
mod file;
mod forms;
mod keys;
mod ledger;
mod logs;
mod migrations;
mod nodes;
mod point;
mod readers;
mod replays;
mod retention;
mod row;
mod sample_row;
mod samples;
mod sandboxes;
mod seal;
mod sealed;
mod snapshots;
mod tail;
mod teams;
mod templates;
mod threads;
mod varint;
mod webhooks;
mod writer;
mod writes;

#[cfg(test)]
mod migration_tests;
#[cfg(test)]
mod old_block_tests;
#[cfg(test)]
mod plan_tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sandscope_model::Clock;
use tokio::sync::{broadcast, watch};

use crate::file::File;
use crate::keys::Touched;
use crate::writer::Feed;

pub use activity::TeamActivity;
pub use admission::{Admission, IdempotencyKey};
pub use alert_rules::RuleOutcome;
pub use alerts::{AlertDecision, AlertKey, AlertStep, FiringAlert};
pub use attempts::{AttemptQuery, StatsBucket};
pub use commit::{Change, NewSnapshot};
pub use deliveries::{DeadLetter, DeliveryProgress, Owed, ReplayStep, Standing};
pub use error::StoreError;
pub use event_pages::{EventPage, EventQuery, MAX_EXAMINED};
pub use exports::NumberedEntry;
pub use fault::FaultPlan;
pub use keys::NewApiKey;
pub use ledger::{
    EndedExecution, EndedExecutions, LedgerMoment, OpenExecution, SandboxAt, SandboxHistory, SandboxesAt,
};
pub use logs::{LogBatch, LogBounds, LogQuery};
pub use point::Aggregate;
pub use replays::ReplayPage;
pub use retention::Removed;
pub use sandboxes::{ListedState, SandboxFilter};
pub use seal::{SEALING_KEY_BYTES, Sealer};
pub use sealed::{SampleRetention, Sealed};
pub use snapshots::SnapshotFilter;
pub use tail::{Batch, EventFeed, Heard, Tail};
pub use teams::FirstTeam;
pub use templates::{AliasOwner, DeleteTemplate};
pub use threads::StoreThread;
pub use webhooks::Replaced;
pub use writes::WriteCounts;

/// The number of the machine whose data directory this is.
const THIS_NODE: i64 = 1;

/// Events the feed keeps for a receiver that is behind. One that falls further behind reads the log.
const FEED: usize = 1024;

/// In which direction a list runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    #[default]
    Desc,
}

impl Order {
    const fn sql(self) -> &'static str {
        match self {
            Self::Asc => "ASC",
            Self::Desc => "DESC",
        }
    }

    /// The comparison that leaves what comes after a position.
    const fn after(self) -> &'static str {
        match self {
            Self::Asc => ">",
            Self::Desc => "<",
        }
    }
}

/// A part of a list: what follows `after`, `limit` entries at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<K> {
    /// The position of the last entry already seen; `None` starts at the beginning.
    pub after: Option<K>,
    /// Entries at most.
    pub limit: u32,
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Reads of the facts that run at once.
    pub read_connections: usize,
    /// How long a write waits for another process, or for room in the queue, before it is refused.
    pub busy_timeout: Duration,
    /// Commits that fail on purpose.
    pub faults: FaultPlan,
    /// What seals webhooks' secrets; without it they are stored as they are.
    pub sealer: Option<Arc<Sealer>>,
    /// How much of sandboxes' logs is kept.
    pub log_bounds: LogBounds,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            read_connections: 4,
            busy_timeout: Duration::from_secs(5),
            faults: FaultPlan::none(),
            sealer: None,
            log_bounds: LogBounds::default(),
        }
    }
}

/// The store. Clones share one.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// The machine on whose behalf it is used.
    node_no: i64,
}

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    facts: File,
    attempts: File,
    samples: File,
    logs: File,
    log_bounds: LogBounds,
    feed: Feed,
    touched: Touched,
    sealer: Option<Arc<Sealer>>,
}

impl Store {
    /// Opens the files in `dir`, making directory and files where missing and bringing their schema up to date.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`], [`StoreError::Full`] or [`StoreError::Io`] if the directory cannot be used,
    /// [`StoreError::TooNew`] if a newer version wrote it.
    pub fn open(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        Self::open_options(dir, clock, StoreOptions::default())
    }

    /// Like [`open`](Self::open), with commits that fail on purpose.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(dir: &Path, clock: Arc<dyn Clock>, faults: FaultPlan) -> Result<Self, StoreError> {
        Self::open_options(dir, clock, StoreOptions { faults, ..StoreOptions::default() })
    }

    /// Like [`open`](Self::open), with every option.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_options(
        dir: &Path,
        clock: Arc<dyn Clock>,
        options: StoreOptions,
    ) -> Result<Self, StoreError> {
        file::make_directory(dir)?;
        let feed = Feed {
            events: broadcast::Sender::new(FEED),
            webhooks: watch::Sender::new(0),
            alert_rules: watch::Sender::new(0),
        };
        let StoreOptions { read_connections, busy_timeout, faults, sealer, log_bounds } = options;
        let open = |schema, n_readers, faults| {
            File::open(dir, schema, n_readers, busy_timeout, feed.clone(), faults)
        };
        let facts = open(&migrations::FACTS, read_connections, faults)?;
        let attempts = open(&migrations::ATTEMPTS, 1, FaultPlan::none())?;
        let samples = open(&migrations::SAMPLES, 2, FaultPlan::none())?;
        let logs = open(&migrations::LOGS, 1, FaultPlan::none())?;
        let touched = Touched::default();
        let inner = Inner { clock, facts, attempts, samples, logs, log_bounds, feed, touched, sealer };
        Ok(Self { inner: Arc::new(inner), node_no: THIS_NODE })
    }

    /// Commits what was asked before, then ends the threads. Whatever is asked later gets [`StoreError::Closed`].
    pub async fn close(&self) {
        self.inner.facts.close().await;
        self.inner.attempts.close().await;
        self.inner.samples.close().await;
        self.inner.logs.close().await;
    }

    /// Changes whenever a webhook was registered, changed or deleted by this process.
    pub fn subscribe_webhooks(&self) -> watch::Receiver<u64> {
        self.inner.feed.webhooks.subscribe()
    }

    /// Changes whenever a rule of alerts was made, changed or deleted by this process.
    pub fn subscribe_alert_rules(&self) -> watch::Receiver<u64> {
        self.inner.feed.alert_rules.subscribe()
    }

    fn facts(&self) -> &File {
        &self.inner.facts
    }

    /// Every thread of the store, for whoever watches over them.
    pub fn threads(&self) -> Vec<StoreThread> {
        let files = [&self.inner.facts, &self.inner.attempts, &self.inner.samples, &self.inner.logs];
        files.into_iter().flat_map(File::threads).collect()
    }

    /// What each file's writer has done, and what waits for it.
    pub fn write_counts(&self) -> [WriteCounts; 4] {
        let inner = &self.inner;
        [&inner.facts, &inner.attempts, &inner.samples, &inner.logs].map(File::write_counts)
    }
}
