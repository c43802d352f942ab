//! The ledger as answered: who was there, for how long, and what it cost.

use std::collections::BTreeMap;

use sandscope_model::ledger::{Ending, Presence, Segment, Usage};
use sandscope_model::{ExecutionId, Prices, SandboxId, TemplateId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Running or paused, in the spelling of every other list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SegmentState {
    /// It runs.
    Running,
    /// It is paused.
    Paused,
}

impl From<Presence> for SegmentState {
    fn from(presence: Presence) -> Self {
        match presence {
            Presence::Running => Self::Running,
            Presence::Paused => Self::Paused,
        }
    }
}

/// The last event before the time asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastEvent {
    /// Its number.
    pub sequence: u64,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
}

/// A sandbox that was there at some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StateAt {
    /// It.
    #[serde(rename = "sandboxID")]
    #[schema(value_type = String)]
    pub sandbox_id: SandboxId,
    /// Running or paused.
    pub state: SegmentState,
    /// Its base template.
    #[serde(rename = "templateID")]
    #[schema(value_type = String)]
    pub template_id: TemplateId,
    /// The current execution, or the last.
    #[serde(rename = "executionID")]
    #[schema(value_type = uuid::Uuid)]
    pub execution_id: ExecutionId,
    /// Its labels.
    pub metadata: BTreeMap<String, String>,
    /// The last event before that time; `null` if it is kept no more and the state follows from what came later.
    pub last_event: Option<LastEvent>,
}

/// Answer of `GET /events/state`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatesAt {
    /// The time asked about.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The sandboxes that were there, by id.
    pub sandboxes: Vec<StateAt>,
    /// Where the next page starts; `null` on the last. A page may be short and still not be the last.
    pub next_cursor: Option<String>,
}

/// A stretch of a sandbox's life in one state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineSegment {
    /// Running or paused.
    pub state: SegmentState,
    /// When it began; `null` if that is kept no more.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended; `null` if it has not.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// How long it lasted, in milliseconds, or has lasted until now; `null` if its beginning is not known.
    pub duration_ms: Option<u64>,
    /// The execution, of one that runs.
    #[serde(rename = "executionID", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub execution_id: Option<ExecutionId>,
    /// Its CPUs, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vcpu_count: Option<u32>,
    /// Its memory limit in MiB, where known.
    #[serde(rename = "memoryMB", skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u32>,
    /// What ended it: `paused`, `resumed` or `killed`.
    pub ended_by: Option<String>,
    /// Why, if it was killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill_reason: Option<String>,
}

impl TimelineSegment {
    /// `segment` as of `now`.
    pub fn new(segment: &Segment, now: Timestamp) -> Self {
        let so_far = segment.start.filter(|_| segment.end.is_none());
        let (ended_by, kill_reason) = match segment.ended_by {
            None => (None, None),
            Some(Ending::Paused) => (Some("paused"), None),
            Some(Ending::Resumed) => (Some("resumed"), None),
            Some(Ending::Killed(reason)) => (Some("killed"), Some(reason)),
        };
        Self {
            state: segment.presence.into(),
            started_at: segment.start,
            ended_at: segment.end,
            duration_ms: segment
                .duration_ms
                .or_else(|| so_far.map(|start| sandscope_model::ledger::between(start, now))),
            execution_id: segment.execution_id,
            vcpu_count: segment.size.map(|(vcpu_count, _)| vcpu_count),
            memory_mb: segment.size.map(|(_, memory_mb)| memory_mb),
            ended_by: ended_by.map(str::to_owned),
            kill_reason: kill_reason.map(|reason| reason.as_str().to_owned()),
        }
    }
}

/// Answer of `GET /sandboxes/{sandboxID}/timeline`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// Whose.
    #[serde(rename = "sandboxID")]
    #[schema(value_type = String)]
    pub sandbox_id: SandboxId,
    /// Whether it reaches back to the creation: if not, retention has removed the beginning, or it is too long.
    pub complete: bool,
    /// Its segments, oldest first.
    pub segments: Vec<TimelineSegment>,
    /// Milliseconds it ran in these segments, until now.
    pub running_ms: u64,
    /// Milliseconds it was paused in these segments, until now, as far as their beginning is known.
    pub paused_ms: u64,
}

impl Timeline {
    /// Sums up `segments`.
    pub fn new(sandbox_id: SandboxId, complete: bool, segments: Vec<TimelineSegment>) -> Self {
        let sum = |state| {
            let of_state = segments.iter().filter(|segment| segment.state == state);
            of_state.filter_map(|segment| segment.duration_ms).sum()
        };
        let (running_ms, paused_ms) = (sum(SegmentState::Running), sum(SegmentState::Paused));
        Self { sandbox_id, complete, segments, running_ms, paused_ms }
    }
}

/// What was used, and what it costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageRow {
    /// What it is about: a sandbox, a template or a label's value; `null` for those without that label, and in the
    /// total.
    pub key: Option<String>,
    /// The name of a template; `null` for one that has none or is deleted, and where rows are not by template.
    pub name: Option<String>,
    /// Executions that ran in the window.
    pub executions: u64,
    /// Those of them that have not ended: counted up to the window's end, or now.
    pub open_executions: u64,
    /// Milliseconds of execution: exact.
    pub execution_ms: u64,
    /// Milliseconds times CPUs: exact.
    pub vcpu_ms: u64,
    /// Milliseconds times MiB of memory limit: exact.
    pub mib_ms: u64,
    /// `vcpuMs` in seconds.
    pub vcpu_seconds: f64,
    /// `mibMs` in GiB and seconds.
    pub gib_seconds: f64,
    /// What it costs, if the operator set prices: a decimal number with nine digits after the point.
    pub cost: Option<String>,
}

impl UsageRow {
    /// `usage` of `key`.
    pub fn new(key: Option<String>, usage: &Usage, prices: Option<&Prices>) -> Self {
        let whole = |n: u128| u64::try_from(n).unwrap_or(u64::MAX);
        Self {
            key,
            name: None,
            executions: usage.n_executions,
            open_executions: usage.n_open,
            execution_ms: whole(usage.execution_ms),
            vcpu_ms: whole(usage.vcpu_ms),
            mib_ms: whole(usage.mib_ms),
            vcpu_seconds: whole(usage.vcpu_ms) as f64 / 1_000.0,
            gib_seconds: whole(usage.mib_ms) as f64 / 1_024_000.0,
            cost: prices.map(|prices| prices.cost(usage).to_string()),
        }
    }
}

/// What an hour costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PriceTable {
    /// The currency's name.
    pub currency: String,
    /// Of one CPU.
    pub vcpu_hour: String,
    /// Of one GiB of memory limit.
    pub gib_hour: String,
}

impl From<&Prices> for PriceTable {
    fn from(prices: &Prices) -> Self {
        Self {
            currency: prices.currency.clone(),
            vcpu_hour: prices.vcpu_hour.to_string(),
            gib_hour: prices.gib_hour.to_string(),
        }
    }
}

/// Answer of `GET /usage`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageReport {
    /// Where the window starts.
    #[schema(value_type = String, format = DateTime)]
    pub start: Timestamp,
    /// Where it ends, exclusive.
    #[schema(value_type = String, format = DateTime)]
    pub end: Timestamp,
    /// By what the rows are grouped.
    pub by: String,
    /// The prices; `null` where the operator set none.
    pub prices: Option<PriceTable>,
    /// One row for each key, by key.
    pub rows: Vec<UsageRow>,
    /// All of them together; its cost is computed from the whole, so that it is exact to the last digit.
    pub total: UsageRow,
}

impl UsageReport {
    /// The rows as comma-separated values with a head line (RFC 4180).
    pub fn to_csv(&self) -> String {
        let mut csv =
            "key,name,executions,open_executions,execution_ms,vcpu_ms,mib_ms,vcpu_seconds,gib_seconds,\
                       cost,currency\r\n"
                .to_owned();
        for row in &self.rows {
            let key = row.key.as_deref().map(field).unwrap_or_default();
            let name = row.name.as_deref().map(field).unwrap_or_default();
            let currency = self.prices.as_ref().map(|prices| field(&prices.currency)).unwrap_or_default();
            let cost = row.cost.as_deref().unwrap_or_default();
            let UsageRow { executions, open_executions, execution_ms, vcpu_ms, mib_ms, .. } = row;
            let UsageRow { vcpu_seconds, gib_seconds, .. } = row;
            csv.push_str(&format!(
                "{key},{name},{executions},{open_executions},{execution_ms},{vcpu_ms},{mib_ms},{vcpu_seconds},\
                 {gib_seconds},{cost},{currency}\r\n"
            ));
        }
        csv
    }
}

/// A text as one field. An empty text is quoted: nothing at all means that there is no key.
fn field(text: &str) -> String {
    if !text.is_empty() && !text.contains([',', '"', '\r', '\n']) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_need_it_are_quoted() {
        let usage = Usage {
            n_executions: 1,
            execution_ms: 1_500,
            vcpu_ms: 3_000,
            mib_ms: 768_000,
            ..Usage::default()
        };
        let prices = Prices {
            currency: "EUR".to_owned(),
            vcpu_hour: "1.2".parse().unwrap(),
            gib_hour: "0".parse().unwrap(),
        };
        let row = |key: Option<&str>| UsageRow::new(key.map(str::to_owned), &usage, Some(&prices));
        let report = UsageReport {
            start: Timestamp::UNIX_EPOCH,
            end: Timestamp::UNIX_EPOCH,
            by: "metadata.x".to_owned(),
            prices: Some((&prices).into()),
            rows: vec![row(Some("a")), row(Some("b,\"c\"")), row(Some("")), row(None)],
            total: row(None),
        };
        let numbers = ",1,0,1500,3000,768000,3,0.75,0.001000000,EUR";
        let expected: String =
            ["a", "\"b,\"\"c\"\"\"", "\"\"", ""].iter().map(|key| format!("{key},{numbers}\r\n")).collect();
        assert_eq!(report.to_csv().split_once("\r\n").unwrap().1, expected);
    }
}
