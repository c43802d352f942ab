//! `GET /usage`: what ran for how long, and what it costs.

use std::collections::{BTreeMap, HashMap};

use crate::json::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use sandscope_model::ledger::{Usage, Window};
use sandscope_model::{SandboxId, Stamp, TeamId, TemplateId, Timestamp};
use sandscope_store::LedgerMoment;
use sandscope_wire::ledger::{UsageReport, UsageRow};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::query::Query;
use crate::{App, paths};

/// Executions read from the store at once: others want to read, too.
const BATCH: u32 = 1_000;
/// Executions that one request looks at.
const MAX_EXECUTIONS: usize = 500_000;
/// Rows of one answer.
const MAX_ROWS: usize = 10_000;

const BAD_BY: &str = "By must be sandbox, template or metadata.<key>";
const BAD_FORMAT: &str = "Format must be json or csv";
const BAD_RANGE: &str = "start must be before end, and not in the future";

/// What executions are grouped by.
enum By {
    Sandbox,
    Template,
    Label(String),
}

impl By {
    fn read(text: &str) -> Result<Self, ApiError> {
        match text.split_once('.') {
            None if text == "sandbox" => Ok(Self::Sandbox),
            None if text == "template" => Ok(Self::Template),
            Some(("metadata", key)) if !key.is_empty() => Ok(Self::Label(key.to_owned())),
            _ => Err(ApiError::bad_request(BAD_BY)),
        }
    }

    fn key(
        &self,
        sandbox_id: &SandboxId,
        template_id: &TemplateId,
        metadata: &BTreeMap<String, String>,
    ) -> Option<String> {
        match self {
            Self::Sandbox => Some(sandbox_id.to_string()),
            Self::Template => Some(template_id.to_string()),
            Self::Label(key) => metadata.get(key).cloned(),
        }
    }
}

/// What ran for how long in a window of time, by sandbox, template or label; exact to the millisecond. Executions
/// still under way count up to the window's end, or now.
#[utoipa::path(
    get,
    path = paths::USAGE,
    tag = "usage",
    params(
        ("start" = Option<String>, Query, description = "RFC 3339, seconds since 1970, or an age such as `1h`. Default: as far back as the \
         team's history is whole"),
        ("end" = Option<String>, Query, description = "Exclusive; the future counts as now. Default: now"),
        ("by" = Option<String>, Query, description = "`sandbox`, `template` or `metadata.<key>`. Default `sandbox`"),
        ("format" = Option<String>, Query, description = "`json` or `csv`. Default: as `Accept` says, else `json`"),
    ),
    responses((status = 200, description = "The usage; with `Accept: text/csv` its rows as CSV", body = UsageReport))
)]
pub(crate) async fn get_usage(
    State(app): State<App>,
    caller: Caller,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let csv = wants_csv(&query, &headers)?;
    let by_text = query.first("by").unwrap_or("sandbox").to_owned();
    let by = By::read(&by_text)?;
    let now = app.clock.stamp();
    let (start, end) = (query.moment("start", now.at)?, query.moment("end", now.at)?);
    let moment = app.store.events.ledger_moment(caller.team.id).await?;
    let start = match start {
        Some(start) => whole_since(&moment, start)?,
        None => first_whole(&moment),
    };
    let end = end.map_or(now.at, |end| end.min(now.at));
    if start >= end {
        return Err(ApiError::bad_request(BAD_RANGE));
    }
    let usage = fold(&app, caller.team.id, (&moment, now), (start, end), &by).await?;
    // What was there when it began may have gone meanwhile.
    whole_since(&app.store.events.ledger_moment(caller.team.id).await?, start)?;

    let prices = app.prices.as_ref();
    let mut total = Usage::default();
    usage.values().for_each(|part| total.merge(part));
    let mut rows: Vec<UsageRow> =
        usage.into_iter().map(|(key, usage)| UsageRow::new(key, &usage, prices)).collect();
    if matches!(by, By::Template) {
        name_templates(&app, caller.team.id, &mut rows).await?;
    }
    // Those without a key come last.
    rows.sort_by(|a, b| (a.key.is_none(), &a.key).cmp(&(b.key.is_none(), &b.key)));
    let total = UsageRow::new(None, &total, prices);
    let report = UsageReport { start, end, by: by_text, prices: prices.map(Into::into), rows, total };
    if csv {
        return Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], report.to_csv()).into_response());
    }
    Ok(Json(report).into_response())
}

/// Names the templates that the rows are about.
async fn name_templates(app: &App, team: TeamId, rows: &mut [UsageRow]) -> Result<(), ApiError> {
    let ids = rows.iter().filter_map(|row| row.key.as_deref()?.parse::<TemplateId>().ok()).collect();
    let names = app.store.facts.template_names(team, ids).await?;
    let names: HashMap<&str, &String> = names.iter().map(|(id, name)| (id.as_str(), name)).collect();
    for row in rows {
        row.name = row.key.as_deref().and_then(|id| names.get(id)).map(|name| (*name).clone());
    }
    Ok(())
}

fn wants_csv(query: &Query, headers: &HeaderMap) -> Result<bool, ApiError> {
    match query.first("format") {
        Some("csv") => Ok(true),
        Some("json") => Ok(false),
        Some(_) => Err(ApiError::bad_request(BAD_FORMAT)),
        None => {
            let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
            Ok(accept.is_some_and(|accept| accept.contains("text/csv")))
        }
    }
}

/// The first time from which on the team's history is whole.
fn first_whole(moment: &LedgerMoment) -> Timestamp {
    let after = moment.cut_at.and_then(|cut| cut.checked_add(std::time::Duration::from_millis(1)).ok());
    after.unwrap_or(Timestamp::UNIX_EPOCH)
}

/// `time`, unless retention has removed events of then: numbers from what is left would be wrong.
pub(super) fn whole_since(moment: &LedgerMoment, time: Timestamp) -> Result<Timestamp, ApiError> {
    if moment.cut_at.is_some_and(|cut| time <= cut) {
        let first = first_whole(moment);
        let message =
            format!("events of that time are kept no more: the team's history is whole from {first} on");
        return Err(ApiError::bad_request(message).with_code("history_expired"));
    }
    Ok(time)
}

/// Adds everything up.
async fn fold(
    app: &App,
    team: TeamId,
    (moment, now): (&LedgerMoment, Stamp),
    (start, end): (Timestamp, Timestamp),
    by: &By,
) -> Result<HashMap<Option<String>, Usage>, ApiError> {
    let window = Window { start_ms: start.as_millisecond(), end_ms: end.as_millisecond() };
    let mut usage: HashMap<Option<String>, Usage> = HashMap::new();
    for open in &moment.open {
        let key = by.key(&open.sandbox_id, &open.template_id, &open.metadata);
        usage.entry(key).or_default().add_open(&open.execution, window, now);
    }
    let (mut position, mut n_executions) = (Some(0), 0);
    while let Some(from) = position {
        let part = app.store.events.ended_executions(team, start, from, moment.last, BATCH).await?;
        position = part.next;
        n_executions += part.executions.len();
        for ended in &part.executions {
            let key = by.key(&ended.sandbox_id, &ended.template_id, &ended.metadata);
            usage.entry(key).or_default().add_ended(&ended.summary, window);
        }
        usage.retain(|_, usage| usage.n_executions > 0);
        if n_executions > MAX_EXECUTIONS || usage.len() > MAX_ROWS {
            let message =
                format!("more than {MAX_EXECUTIONS} executions or {MAX_ROWS} rows: ask for a shorter time");
            return Err(ApiError::bad_request(message).with_code("usage_too_large"));
        }
    }
    usage.retain(|_, usage| usage.n_executions > 0);
    Ok(usage)
}
