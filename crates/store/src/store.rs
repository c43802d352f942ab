//! The store as a whole: how its files are opened and closed, and what concerns all of them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sandscope_model::{Clock, NodeId};

use crate::attempts::Attempts;
use crate::error::StoreError;
use crate::facts::handles::{Alerts, Deliveries, EventLog, Facts, FactsFile};
use crate::facts::home::{self, Home};
use crate::facts::seal::Sealer;
use crate::facts::touched::Touched;
use crate::feed::Feed;
use crate::logs::Logs;
use crate::logs::bounds::LogBounds;
use crate::samples::Samples;
use crate::sqlite::fault::FaultPlan;
use crate::sqlite::file::{self, File};
use crate::sqlite::migrations;
use crate::sqlite::reserve::Reserve;
use crate::sqlite::threads::StoreThread;
use crate::sqlite::writes::WriteCounts;

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

/// All handles on a data directory. Whoever needs less than everything takes the handles it needs. Clones share one store.
#[derive(Debug, Clone)]
pub struct Store {
    /// Teams, keys, templates, snapshots, sandboxes and nodes.
    pub facts: Facts,
    /// The log of events.
    pub events: EventLog,
    /// Webhooks and how far each has come.
    pub deliveries: Deliveries,
    /// Rules of alerts, and what fires.
    pub alerts: Alerts,
    /// Attempts to deliver webhooks.
    pub attempts: Attempts,
    /// Samples of sandboxes' metrics.
    pub samples: Samples,
    /// Logs of sandboxes.
    pub logs: Logs,
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
        let reserve = Reserve::open(dir);
        let open = |schema, n_readers, faults| {
            File::open(dir, schema, n_readers, busy_timeout, feed.clone(), faults, reserve.clone())
        };
        let facts = Arc::new(FactsFile {
            file: open(&migrations::FACTS, read_connections, faults)?,
            clock: Arc::clone(&clock),
            feed: feed.clone(),
            touched: Touched::default(),
            sealer,
        });
        let attempts = open(&migrations::ATTEMPTS, 1, FaultPlan::none())?;
        let samples = open(&migrations::SAMPLES, 2, FaultPlan::none())?;
        let logs = open(&migrations::LOGS, 1, FaultPlan::none())?;
        Ok(Self {
            facts: Facts::new(&facts),
            events: EventLog::new(&facts),
            deliveries: Deliveries::new(&facts),
            alerts: Alerts::new(&facts),
            attempts: Attempts::new(attempts),
            samples: Samples::new(samples),
            logs: Logs::new(logs, clock, log_bounds),
        })
    }

    /// What the data directory says of itself, read without making anything or bringing a schema up to date: also of
    /// one that is then left alone. `None` where no server has settled.
    ///
    /// # Errors
    /// [`StoreError`] if the file cannot be read.
    pub fn home_of(dir: &Path) -> Result<Option<Home>, StoreError> {
        let Some(connection) = file::look(dir, &migrations::FACTS)? else { return Ok(None) };
        home::find_in(&connection)
    }

    /// The same store on behalf of another machine, which it gets to know if it does not yet.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be written.
    pub async fn on_behalf_of_node(&self, id: NodeId) -> Result<Self, StoreError> {
        Ok(Self { facts: self.facts.on_behalf_of_node(id).await?, ..self.clone() })
    }

    /// Commits what was asked before, then ends the threads. Whatever is asked later gets [`StoreError::Closed`].
    pub async fn close(&self) {
        for file in self.files() {
            file.close().await;
        }
    }

    /// Every thread of the store, for whoever watches over them.
    pub fn threads(&self) -> Vec<StoreThread> {
        self.files().into_iter().flat_map(File::threads).collect()
    }

    /// What each file's writer has done, and what waits for it.
    pub fn write_counts(&self) -> [WriteCounts; 4] {
        self.files().map(File::write_counts)
    }

    fn files(&self) -> [&File; 4] {
        [self.facts.file(), self.attempts.file(), self.samples.file(), self.logs.file()]
    }
}
