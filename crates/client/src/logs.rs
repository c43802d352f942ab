use serde::{Deserialize, Serialize};

use crate::control::segment;
use crate::{Client, ClientError};

/// One entry of a sandbox's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// When (RFC 3339).
    pub timestamp: String,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// What was written.
    pub message: String,
    /// Who wrote it: `logger`, `stream`, `pid` and what else the server says.
    #[serde(default)]
    pub fields: std::collections::BTreeMap<String, String>,
}

/// Which entries.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Oldest first from `cursor`, rather than newest first up to it.
    pub forward: bool,
    /// Milliseconds since 1970.
    pub cursor: Option<i64>,
    /// Entries at most, up to 1000.
    pub limit: u32,
    /// Only this level and above.
    pub level: Option<String>,
    /// Only entries that contain this.
    pub search: Option<String>,
}

impl Client {
    /// A page of a sandbox's log, also of one that is gone.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn logs(&self, id: &str, query: &LogQuery) -> Result<Vec<LogEntry>, ClientError> {
        #[derive(Deserialize)]
        struct Page {
            logs: Vec<LogEntry>,
        }
        let direction = if query.forward { "forward" } else { "backward" };
        let mut path =
            format!("/v2/sandboxes/{}/logs?direction={direction}&limit={}", segment(id), query.limit);
        if let Some(cursor) = query.cursor {
            path.push_str(&format!("&cursor={cursor}"));
        }
        for (name, value) in [("level", &query.level), ("search", &query.search)] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", segment(value)));
            }
        }
        self.get::<Page>(&path).await.map(|page| page.logs)
    }
}
