use std::path::PathBuf;

use serde_json::json;

use sandscope_console::output::{self, Paint};

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    /// Whether it contradicts what was promised, rather than being corrected by the next start.
    pub(super) is_wrong: bool,
    /// What it is about: a sandbox's id, a webhook's, or where it lies.
    pub(super) subject: String,
    /// In words. Names the row's generation where there is one, so that a later state is another finding.
    pub(super) what: String,
}

impl Finding {
    pub(super) fn wrong(subject: &dyn std::fmt::Display, what: impl Into<String>) -> Self {
        Self { is_wrong: true, subject: subject.to_string(), what: what.into() }
    }

    pub(super) fn pending(subject: &dyn std::fmt::Display, what: impl Into<String>) -> Self {
        Self { is_wrong: false, subject: subject.to_string(), what: what.into() }
    }
}

/// What was compared and what came of it.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) data_dir: PathBuf,
    pub(super) has_server: bool,
    pub(super) n_teams: usize,
    pub(super) n_events: u64,
    pub(super) n_live: usize,
    pub(super) findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing disagrees.
    pub(super) fn agrees(&self) -> bool {
        !self.findings.iter().any(|finding| finding.is_wrong)
    }

    pub(super) fn print(&self, as_json: bool) -> std::io::Result<()> {
        if as_json {
            let finding = |finding: &Finding| {
                let severity = if finding.is_wrong { "disagreement" } else { "pending" };
                json!({"severity": severity, "subject": finding.subject, "what": finding.what})
            };
            return output::line(json!({
                "agrees": self.agrees(),
                "data_dir": self.data_dir,
                "server_running": self.has_server,
                "teams": self.n_teams,
                "events": self.n_events,
                "live_sandboxes": self.n_live,
                "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            }));
        }
        let paint = Paint::for_stdout();
        for finding in &self.findings {
            let mark = if finding.is_wrong { paint.red("disagrees") } else { paint.dim("pending  ") };
            output::line(format_args!("{mark}  {}: {}", finding.subject, finding.what))?;
        }
        let beside = if self.has_server { "beside a running server" } else { "no server runs" };
        let verdict = if self.agrees() {
            paint.green("store, kernel and event log agree")
        } else {
            paint.red("store, kernel and event log do not agree")
        };
        output::line(format_args!(
            "{verdict}: {} events of {} teams, {} live sandboxes ({beside})",
            self.n_events, self.n_teams, self.n_live
        ))
    }
}
