//! One sandbox on the board.

use std::collections::VecDeque;

use sandscope_client::{ListedSandbox, LiveMetric};

/// One sandbox.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) listed: Option<ListedSandbox>,
    pub(super) newest: Option<LiveMetric>,
    /// CPU percent, the newest last.
    pub(super) history: VecDeque<f64>,
    pub(super) seen_at: i64,
    /// When it was started and when it times out, in unix seconds.
    pub(super) started_s: Option<i64>,
    pub(super) end_s: Option<i64>,
}

impl Row {
    pub(super) const fn new(seen_at: i64) -> Self {
        let history = VecDeque::new();
        Self { listed: None, newest: None, history, seen_at, started_s: None, end_s: None }
    }

    /// How long it has been running, in seconds.
    pub(super) fn age_s(&self, now: i64) -> Option<i64> {
        self.started_s.map(|started| now - started)
    }

    /// How long until it times out, in seconds; a paused one does not.
    pub(super) fn left_s(&self, now: i64) -> Option<i64> {
        self.end_s.filter(|_| self.state() == "running").map(|end| end - now)
    }

    pub(super) fn state(&self) -> &str {
        self.listed.as_ref().map_or("running", |listed| listed.state.as_str())
    }

    pub(super) fn template(&self) -> &str {
        self.listed.as_ref().map_or("", |listed| listed.alias.as_deref().unwrap_or(&listed.template_id))
    }

    pub(super) fn labels(&self) -> String {
        let labels = self.listed.iter().flat_map(|listed| &listed.metadata);
        labels.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    }
}
