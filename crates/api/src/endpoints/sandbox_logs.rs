//! `GET /sandboxes/{id}/logs` and `GET /v2/sandboxes/{id}/logs`: what a sandbox's processes wrote, also of one that is
//! gone.

use std::time::Duration;

use crate::json::Json;
use axum::extract::State;
use sandscope_model::{LogEntry, LogLevel, SandboxId, Timestamp};
use sandscope_store::{LogQuery, Order};
use sandscope_wire::log::{Level, SandboxLogs, SandboxLogsV2Response, level};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::query::Query;
use crate::segments::SandboxPath;
use crate::{App, paths};

/// Entries in one answer at most.
const MAX_ENTRIES: i64 = 1000;

/// Longest text that is searched for, in characters.
const MAX_SEARCH_CHARS: usize = 256;

/// How far back logs are answered.
const WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a sandbox's processes wrote, oldest first (deprecated: see the second version).
#[utoipa::path(
    get,
    path = paths::SANDBOX_LOGS,
    tag = "logs",
    params(
        ("sandboxID" = String, Path),
        ("start" = Option<i64>, Query, minimum = 0, description = "Unix milliseconds, inclusive. Default: seven days ago"),
        ("limit" = Option<i32>, Query, minimum = 0, description = "Entries at most. Default 1000; more are never answered"),
    ),
    responses((status = 200, description = "The entries from `start` on. No two share a \
               millisecond: what follows a page starts at its last entry's plus one", body = SandboxLogs))
)]
pub(crate) async fn get_sandbox_logs(
    State(app): State<App>,
    caller: Caller,
    SandboxPath(id): SandboxPath,
    query: Query,
) -> Result<Json<SandboxLogs>, ApiError> {
    let start = moment(&query, "start", app.clock.now())?;
    let limit = query.integer("limit", 0..=i64::from(i32::MAX))?;
    let logs = LogQuery { start, limit: entries(limit), ..everything(id) };
    Ok(Json(read(&app, &caller, logs).await?.into()))
}

/// What a sandbox's processes wrote, newest first unless asked otherwise.
#[utoipa::path(
    get,
    path = paths::SANDBOX_LOGS_V2,
    tag = "logs",
    params(
        ("sandboxID" = String, Path),
        ("cursor" = Option<i64>, Query, minimum = 0, description = "Unix milliseconds: forward from here (inclusive), \
         or backward from here (exclusive)"),
        ("limit" = Option<i32>, Query, minimum = 0, maximum = 1000, description = "Entries at most. Default 1000"),
        ("direction" = Option<String>, Query, description = "`forward` (oldest first) or `backward`. Default `backward`"),
        ("level" = Option<Level>, Query, description = "Only this level and above"),
        ("search" = Option<String>, Query, description = "Only entries whose message contains this, at most 256 \
         characters, whatever the case of its ASCII letters"),
    ),
    responses((status = 200, description = "The entries. No two share a millisecond", body = SandboxLogsV2Response))
)]
pub(crate) async fn get_sandbox_logs_v2(
    State(app): State<App>,
    caller: Caller,
    SandboxPath(id): SandboxPath,
    query: Query,
) -> Result<Json<SandboxLogsV2Response>, ApiError> {
    let cursor = moment(&query, "cursor", app.clock.now())?;
    let order = match query.first("direction") {
        None | Some("backward") => Order::Desc,
        Some("forward") => Order::Asc,
        Some(_) => return Err(ApiError::bad_request("Direction must be forward or backward")),
    };
    let min_level = match query.first("level") {
        None => LogLevel::Debug,
        Some(name) => {
            level(name).ok_or_else(|| ApiError::bad_request("Level must be debug, info, warn or error"))?
        }
    };
    let search = query.first("search").filter(|text| !text.is_empty());
    if search.is_some_and(|text| text.chars().count() > MAX_SEARCH_CHARS) {
        let message = format!("Search must not be longer than {MAX_SEARCH_CHARS} characters");
        return Err(ApiError::bad_request(message));
    }
    let limit = query.integer("limit", 0..=MAX_ENTRIES)?;
    let (start, end) = if order == Order::Asc { (cursor, None) } else { (None, cursor) };
    let search = search.map(str::to_owned);
    let logs = LogQuery { start, end, min_level, search, order, limit: entries(limit), ..everything(id) };
    let logs = read(&app, &caller, logs).await?.into_iter().map(Into::into).collect();
    Ok(Json(SandboxLogsV2Response { logs }))
}

fn everything(sandbox_id: SandboxId) -> LogQuery {
    LogQuery {
        sandbox_id,
        start: None,
        end: None,
        min_level: LogLevel::Debug,
        search: None,
        order: Order::Asc,
        limit: 0,
    }
}

/// A time: a whole number is in unix milliseconds, and one beyond what a time can be is as good as the last. In any
/// other form as everywhere.
fn moment(query: &Query, name: &str, now: Timestamp) -> Result<Option<Timestamp>, ApiError> {
    let Some(Err(at)) = query.number_or_moment(name, now)? else {
        let milliseconds = query.integer(name, 0..=i64::MAX)?;
        return Ok(milliseconds.map(|ms| Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)));
    };
    Ok(Some(at))
}

fn entries(limit: Option<i64>) -> u32 {
    u32::try_from(limit.unwrap_or(MAX_ENTRIES).min(MAX_ENTRIES)).unwrap_or(0)
}

async fn read(app: &App, caller: &Caller, mut query: LogQuery) -> Result<Vec<LogEntry>, ApiError> {
    if !app.store.events.knows_sandbox(caller.team.id, &query.sandbox_id).await? {
        return Err(ApiError::no_such_sandbox(query.sandbox_id.as_str()));
    }
    let oldest = app.clock.now().checked_sub(WINDOW).unwrap_or(Timestamp::MIN);
    query.start = Some(query.start.map_or(oldest, |start| start.max(oldest)));
    Ok(app.store.logs.logs(query).await?)
}
