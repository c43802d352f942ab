//! The handles on `facts.sqlite`. They share one file, for what they write belongs into one transaction where it belongs
//! together: a change and its event, a delivery and its cursor, an alert and its event. Each has the operations of one
//! kind of caller, so that a caller cannot do what it has no business with.
//!
//! ```text
//!   Facts       teams, keys, templates, snapshots, sandboxes, nodes: read and changed, each change with its event
//!   EventLog    the log of events, usage and activity computed from it, the feed: read only
//!   Deliveries  webhooks, how far each has come, replays
//!   Alerts      rules and what fires by them
//! ```
//!
//! Beneath, their files share the functions that read and write rows: all append to the log (`events`), and all turn a
//! team's id into its number (`teams`).

use std::sync::Arc;

use sandscope_model::Clock;
use tokio::sync::watch;

use crate::facts::seal::Sealer;
use crate::facts::touched::Touched;
use crate::feed::Feed;
use crate::sqlite::file::File;

/// The number of the machine whose data directory this is.
const THIS_NODE: i64 = 1;

/// The file, and what its operations need beside it.
#[derive(Debug)]
pub(crate) struct FactsFile {
    pub(crate) file: File,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) feed: Feed,
    pub(crate) touched: Touched,
    pub(crate) sealer: Option<Arc<Sealer>>,
}

/// Teams, keys, templates, snapshots, sandboxes and nodes. Clones share one file.
#[derive(Debug, Clone)]
pub struct Facts {
    pub(crate) inner: Arc<FactsFile>,
    /// The machine on whose behalf it is used.
    pub(crate) node_no: i64,
}

/// The log of events, and what is computed from it. Clones share one file.
#[derive(Debug, Clone)]
pub struct EventLog {
    pub(crate) inner: Arc<FactsFile>,
}

/// Webhooks and how far each has come. Clones share one file.
#[derive(Debug, Clone)]
pub struct Deliveries {
    pub(crate) inner: Arc<FactsFile>,
}

/// Rules of alerts, and what fires. Clones share one file.
#[derive(Debug, Clone)]
pub struct Alerts {
    pub(crate) inner: Arc<FactsFile>,
}

impl Facts {
    pub(crate) fn new(inner: &Arc<FactsFile>) -> Self {
        Self { inner: Arc::clone(inner), node_no: THIS_NODE }
    }

    pub(crate) fn file(&self) -> &File {
        &self.inner.file
    }
}

impl EventLog {
    pub(crate) fn new(inner: &Arc<FactsFile>) -> Self {
        Self { inner: Arc::clone(inner) }
    }

    pub(crate) fn file(&self) -> &File {
        &self.inner.file
    }
}

impl Deliveries {
    pub(crate) fn new(inner: &Arc<FactsFile>) -> Self {
        Self { inner: Arc::clone(inner) }
    }

    pub(crate) fn file(&self) -> &File {
        &self.inner.file
    }

    /// Changes whenever a webhook was registered, changed or deleted by this process.
    pub fn subscribe_webhooks(&self) -> watch::Receiver<u64> {
        self.inner.feed.webhooks.subscribe()
    }
}

impl Alerts {
    pub(crate) fn new(inner: &Arc<FactsFile>) -> Self {
        Self { inner: Arc::clone(inner) }
    }

    pub(crate) fn file(&self) -> &File {
        &self.inner.file
    }

    /// Changes whenever a rule was made, changed or deleted by this process.
    pub fn subscribe_alert_rules(&self) -> watch::Receiver<u64> {
        self.inner.feed.alert_rules.subscribe()
    }
}
