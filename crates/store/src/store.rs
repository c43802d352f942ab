//! The store as a whole: how its files are opened and closed, and what concerns all of them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sandscope_model::Clock;
use tokio::sync::watch;

use crate::error::StoreError;
use crate::facts::seal::Sealer;
use crate::facts::touched::Touched;
use crate::feed::Feed;
use crate::logs::bounds::LogBounds;
use crate::sqlite::fault::FaultPlan;
use crate::sqlite::file::{self, File};
use crate::sqlite::migrations;
use crate::sqlite::threads::StoreThread;
use crate::sqlite::writes::WriteCounts;

/// The number of the machine whose data directory this is.
const THIS_NODE: i64 = 1;

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
    pub(crate) inner: Arc<Inner>,
    /// The machine on whose behalf it is used.
    pub(crate) node_no: i64,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) facts: File,
    pub(crate) attempts: File,
    pub(crate) samples: File,
    pub(crate) logs: File,
    pub(crate) log_bounds: LogBounds,
    pub(crate) feed: Feed,
    pub(crate) touched: Touched,
    pub(crate) sealer: Option<Arc<Sealer>>,
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
        let feed = Feed::new();
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

    pub(crate) fn facts(&self) -> &File {
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
