//! `GET /events/sandboxes/{id}`: what happened to one sandbox.

use axum::Json;
use axum::extract::State;
use sandscope_wire::event::render;
use serde_json::Value;

use super::events_list::event_query;
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
        ("offset" = Option<i32>, Query, minimum = 0, description = "Events to skip. Default 0"),
        ("limit" = Option<i32>, Query, minimum = 1, maximum = 100, description = "Default 10"),
        ("orderAsc" = Option<bool>, Query, description = "Oldest first. Default `false`"),
        ("types" = Option<Vec<String>>, Query, description = "Only these types, repeated or joined by commas"),
    ),
    responses((status = 200, description = "The events", body = [Object]))
)]
pub(crate) async fn list_sandbox_events(
    State(app): State<App>,
    caller: Caller,
    HistoryPath(id): HistoryPath,
    query: Query,
) -> Result<Json<Vec<Value>>, ApiError> {
    let id = id.ok_or_else(|| ApiError::not_found(NOT_FOUND))?;
    let query = event_query(&query, Some(id.clone()))?;
    if !app.store.knows_sandbox(caller.team.id, &id).await? {
        return Err(ApiError::not_found(NOT_FOUND));
    }
    let events = app.store.events(caller.team.id, query).await?;
    Ok(Json(events.iter().map(render).collect()))
}
