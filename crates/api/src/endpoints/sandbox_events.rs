//! `GET /events/sandboxes/{id}`: what happened to one sandbox.

use crate::json::Json;
use axum::extract::State;
use http::HeaderMap;
use serde_json::Value;

use super::events_list::{answer, event_query};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::query::Query;
use crate::segments::HistoryPath;
use crate::{App, paths};

const NOT_FOUND: &str = "Sandbox events not found";

/// What happened to one sandbox, also to one that is gone.
#[utoipa::path(
    get,
    path = paths::SANDBOX_EVENTS,
    tag = "events",
    params(
        ("sandboxID" = String, Path),
        ("offset" = Option<i32>, Query, minimum = 0, description = "Events to skip; over a list that grows, skips and \
         repeats. Default 0"),
        ("limit" = Option<i32>, Query, minimum = 1, maximum = 100, description = "Default 10"),
        ("orderAsc" = Option<bool>, Query, description = "Oldest first. Default `false`"),
        ("types" = Option<Vec<String>>, Query, description = "Only these types, repeated or joined by commas; `all`: \
         every type. Default: every `sandbox.lifecycle.*`"),
        ("reason" = Option<Vec<String>>, Query, description = "Only kills for these reasons (`kill_reason`), repeated \
         or joined by commas"),
        ("template" = Option<String>, Query, description = "Only if it is of this template: an id or name"),
        ("metadata" = Option<String>, Query, description = "Only if it has all of these labels: `key=value` pairs \
         joined by `&`, keys and values percent-encoded twice or plain"),
        ("start" = Option<String>, Query, description = "Only what happened then or later: RFC 3339, seconds since \
         1970, or an age such as `1h`"),
        ("end" = Option<String>, Query, description = "Only what happened before then"),
        ("cursor" = Option<String>, Query, description = "`X-Next-Cursor` of the page before, with the same order; \
         `latest` (oldest first only): behind the newest event"),
        ("wait" = Option<i32>, Query, minimum = 0, maximum = 60, description = "Oldest first only: seconds to wait for \
         events if there are none yet. Default 0"),
    ),
    responses((status = 200, description = "The events", body = [Object], headers(
        ("X-Next-Cursor" = String, description = "Where to go on; oldest first always there, newest first absent on \
         the last page"),
        ("X-Has-More" = bool, description = "Whether more may be there already, also behind a short page"),
        ("X-Events-Lost" = String, description = "`first-last`: numbers of the team's log behind the cursor that \
         retention has removed"),
    )))
)]
pub(crate) async fn list_sandbox_events(
    State(app): State<App>,
    caller: Caller,
    HistoryPath(id): HistoryPath,
    query: Query,
) -> Result<(HeaderMap, Json<Vec<Value>>), ApiError> {
    let id = id.ok_or_else(|| ApiError::not_found(NOT_FOUND))?;
    let (query, wait) = event_query(&app, caller.team.id, &query, Some(id.clone())).await?;
    if !app.store.events.knows_sandbox(caller.team.id, &id).await? {
        return Err(ApiError::not_found(NOT_FOUND));
    }
    answer(&app, caller.team.id, query, wait).await
}
