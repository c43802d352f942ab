//! `GET /events/sandboxes`: what happened to the team's sandboxes.

use axum::Json;
use axum::extract::State;
use sandscope_model::{EventType, SandboxId};
use sandscope_store::EventQuery;
use sandscope_wire::event::render;
use serde_json::Value;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::query::Query;
use crate::segments::echo;
use crate::{App, paths};

const DEFAULT_LIMIT: u32 = 10;

/// What happened to the team's sandboxes, newest first unless asked otherwise; also to those that are gone.
#[utoipa::path(
    get,
    path = paths::EVENTS,
    tag = "events",
    params(
        ("offset" = Option<i32>, Query, minimum = 0, description = "Events to skip. Default 0"),
        ("limit" = Option<i32>, Query, minimum = 1, maximum = 100, description = "Default 10"),
        ("orderAsc" = Option<bool>, Query, description = "Oldest first. Default `false`"),
        ("types" = Option<Vec<String>>, Query, description = "Only these types, repeated or joined by commas"),
    ),
    responses((status = 200, description = "The events", body = [Object]))
)]
pub(crate) async fn list_events(
    State(app): State<App>,
    caller: Caller,
    query: Query,
) -> Result<Json<Vec<Value>>, ApiError> {
    let query = event_query(&query, None)?;
    let events = app.store.events(caller.team.id, query).await?;
    Ok(Json(events.iter().map(render).collect()))
}

/// The parameters both histories take.
pub(super) fn event_query(query: &Query, sandbox_id: Option<SandboxId>) -> Result<EventQuery, ApiError> {
    let offset = query.integer("offset", 0..=i64::from(i32::MAX))?.unwrap_or(0);
    Ok(EventQuery {
        sandbox_id,
        types: event_types(query, "types")?,
        offset: u32::try_from(offset).unwrap_or(u32::MAX),
        limit: query.limit(DEFAULT_LIMIT)?,
        order: query.order_asc()?,
    })
}

/// The event types listed under `name`; none is twice.
pub(super) fn event_types(query: &Query, name: &str) -> Result<Vec<EventType>, ApiError> {
    let mut types = Vec::new();
    for text in query.list(name) {
        let event_type: EventType = text.parse().map_err(|_| {
            let known = EventType::ALL.map(EventType::as_str).join(", ");
            ApiError::bad_request(format!("unknown event type '{}': expected one of {known}", echo(text)))
        })?;
        if !types.contains(&event_type) {
            types.push(event_type);
        }
    }
    Ok(types)
}
