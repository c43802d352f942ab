//! `GET /events/state`: which sandboxes were in which state at a time.

use crate::json::Json;
use axum::extract::State;
use http::{HeaderMap, HeaderName, HeaderValue};
use sandscope_model::SandboxId;
use sandscope_wire::ledger::{LastEvent, StateAt, StatesAt};

use super::usage::whole_since;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::query::Query;
use crate::{App, paths};

const MAX_LIMIT: i64 = 1_000;
const MISSING_AT: &str = "at is missing: a time (RFC 3339), seconds since 1970, or an age such as 1h";
const FUTURE: &str = "at must not be in the future";
const BAD_CURSOR: &str = "Invalid cursor";

/// Which sandboxes were running or paused at a time, folded from the events, by id.
#[utoipa::path(
    get,
    path = paths::EVENT_STATE,
    tag = "events",
    params(
        ("at" = String, Query, description = "RFC 3339, seconds since 1970, or an age such as `1h`; not before the team's history is whole"),
        ("limit" = Option<i32>, Query, minimum = 1, maximum = 1000, description = "Default 100"),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before"),
    ),
    responses((status = 200, description = "The sandboxes that were there", body = StatesAt, headers(
        ("X-Next-Cursor" = String, description = "Where the next page starts; absent on the last"),
    )))
)]
pub(crate) async fn get_states(
    State(app): State<App>,
    caller: Caller,
    query: Query,
) -> Result<(HeaderMap, Json<StatesAt>), ApiError> {
    let at = query.moment("at", app.clock.now())?.ok_or_else(|| ApiError::bad_request(MISSING_AT))?;
    let limit = query.integer("limit", 1..=MAX_LIMIT)?.unwrap_or(100);
    let behind: Option<SandboxId> = query
        .first("cursor")
        .filter(|text| !text.is_empty())
        .map(|text| text.parse().map_err(|_| ApiError::bad_request(BAD_CURSOR)))
        .transpose()?;
    if at > app.clock.now() {
        return Err(ApiError::bad_request(FUTURE));
    }
    let team = caller.team.id;
    let limit = u32::try_from(limit).unwrap_or(100);
    let found = app.store.events.sandboxes_at(team, at, behind, limit).await?;
    // Afterwards: what retention removes meanwhile must not go unnoticed.
    whole_since(&app.store.events.ledger_moment(team).await?, at)?;
    let sandboxes = found.sandboxes.into_iter().map(|sandbox| StateAt {
        sandbox_id: sandbox.sandbox_id,
        state: sandbox.presence.into(),
        template_id: sandbox.template_id,
        execution_id: sandbox.execution_id,
        metadata: sandbox.metadata,
        last_event: sandbox.last_event.map(|(sequence, event_type, timestamp)| LastEvent {
            sequence,
            event_type: event_type.to_string(),
            timestamp,
        }),
    });
    let next_cursor = found.next.map(|id| id.to_string());
    let header = next_cursor.as_ref().and_then(|cursor| HeaderValue::try_from(cursor).ok());
    let headers = header.map(|value| (HeaderName::from_static("x-next-cursor"), value)).into_iter().collect();
    Ok((headers, Json(StatesAt { at, sandboxes: sandboxes.collect(), next_cursor })))
}
