use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sandscope_model::{SandboxId, Signal};
use sandscope_store::{Facts, Logs, StoreError};

use crate::courier::{Courier, Stopped};
use crate::record::Subject;
use crate::{figures, render};

/// Entries in one request.
const PAGE: u32 = 256;
/// How often the logs are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Sandboxes of which it is remembered whose they are.
const MAX_SUBJECTS: usize = 1024;

/// Brings every entry of every sandbox's log to the collector, in the order they were stored.
pub(crate) struct LogPump {
    pub(crate) logs: Logs,
    pub(crate) facts: Facts,
    pub(crate) courier: Courier,
    /// Up to where it is taken, as read when the pump begins.
    pub(crate) cursor: u64,
    /// Whether lines that repeat events are left out: the events themselves are sent.
    pub(crate) leaves_events_out: bool,
    pub(crate) subjects: HashMap<SandboxId, Arc<Subject>>,
}

impl LogPump {
    pub(crate) async fn run(mut self) {
        let shared = self.courier.shared.clone();
        loop {
            match self.logs.begin_log_export().await {
                Ok(cursor) => break self.cursor = cursor,
                Err(error) => tracing::warn!(%error, "it cannot be read how far logs are exported"),
            }
            if !shared.wait(LOOK).await {
                return;
            }
        }
        loop {
            let is_last = shared.stop.is_cancelled();
            match self.page().await {
                Ok(Some(Stopped)) => return,
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "logs cannot be exported for now"),
            }
            if is_last {
                return;
            }
            let _ = shared.wait(LOOK).await;
        }
    }

    /// Everything that is pending. `Some` if it was stopped on the way.
    async fn page(&mut self) -> Result<Option<Stopped>, StoreError> {
        loop {
            let newest = self.logs.newest_log().await?;
            if newest < self.cursor {
                // Everything was removed, and numbers have started over.
                self.cursor = 0;
            }
            let stats = &self.courier.shared.stats;
            stats.waiting(Signal::Logs, newest.saturating_sub(self.cursor));
            let entries = self.logs.logs_after(self.cursor, PAGE).await?;
            let Some(last) = entries.last() else { return Ok(None) };
            let (upto, n) = (last.no, u64::try_from(entries.len()).unwrap_or(u64::MAX));
            stats.dropped(Signal::Logs, (upto - self.cursor).saturating_sub(n));
            let now = self.courier.shared.clock.now();
            let mut records = Vec::with_capacity(entries.len());
            for numbered in &entries {
                if self.leaves_events_out && numbered.entry.event_type.is_some() {
                    continue;
                }
                let subject = self.subject(&numbered.sandbox_id).await?;
                records.push(render::entry(&numbered.entry, numbered.no, subject, now));
            }
            if let Err(stopped) = self.courier.deliver(&records).await {
                return Ok(Some(stopped));
            }
            self.logs.move_log_export(upto).await?;
            self.cursor = upto;
        }
    }

    async fn subject(&mut self, id: &SandboxId) -> Result<Arc<Subject>, StoreError> {
        if let Some(known) = self.subjects.get(id) {
            return Ok(Arc::clone(known));
        }
        let subject = match self.facts.sandbox(id).await? {
            Some(sandbox) => figures::subject(&sandbox),
            None => Subject {
                sandbox_id: Some(id.clone()),
                team_id: None,
                template_id: None,
                template_name: None,
            },
        };
        if self.subjects.len() >= MAX_SUBJECTS {
            self.subjects.clear();
        }
        let subject = Arc::new(subject);
        self.subjects.insert(id.clone(), Arc::clone(&subject));
        Ok(subject)
    }
}
