//! `GET /events/sandboxes`: what happened to the team's sandboxes.

use std::time::Duration;

use crate::json::Json;
use axum::extract::State;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sandscope_model::{EventType, SandboxId, TeamId, within};
use sandscope_store::{EventPage, EventQuery, Order};
use sandscope_wire::cursor::{decode_position, encode_position};
use sandscope_wire::event::render;
use serde_json::Value;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::query::Query;
use crate::{App, event_filter, paths};

const DEFAULT_LIMIT: u32 = 10;
/// Longest time a request waits for events, in seconds.
const MAX_WAIT_S: i64 = 60;

const OFFSET_AND_CURSOR: &str = "Offset and cursor cannot be combined: a cursor is where the page starts";
const WAIT_DESCENDING: &str = "Wait needs orderAsc=true: new events come at the end of the log";
const BEYOND: &str = "Invalid cursor: it is beyond the end of the log";

/// What happened to the team's sandboxes, newest first unless asked otherwise; also to those that are gone.
#[utoipa::path(
    get,
    path = paths::EVENTS,
    tag = "events",
    params(
        ("offset" = Option<i32>, Query, minimum = 0, description = "Events to skip; over a list that grows, skips and \
         repeats. Default 0"),
        ("limit" = Option<i32>, Query, minimum = 1, maximum = 100, description = "Default 10"),
        ("orderAsc" = Option<bool>, Query, description = "Oldest first. Default `false`"),
        ("types" = Option<Vec<String>>, Query, description = "Only these types, repeated or joined by commas; `all`: \
         every type. Default: every `sandbox.lifecycle.*`"),
        ("sandboxID" = Option<String>, Query, description = "Only this sandbox's"),
        ("reason" = Option<Vec<String>>, Query, description = "Only kills for these reasons (`kill_reason`), repeated \
         or joined by commas"),
        ("template" = Option<String>, Query, description = "Only of sandboxes of this template: an id or name"),
        ("metadata" = Option<String>, Query, description = "Only of sandboxes with all of these labels: `key=value` \
         pairs joined by `&`, keys and values percent-encoded twice or plain"),
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
        ("X-Events-Lost" = String, description = "`first-last`: numbers behind the cursor that retention has removed"),
    )))
)]
pub(crate) async fn list_events(
    State(app): State<App>,
    caller: Caller,
    query: Query,
) -> Result<(HeaderMap, Json<Vec<Value>>), ApiError> {
    let (query, wait) = event_query(&app, caller.team.id, &query, None).await?;
    answer(&app, caller.team.id, query, wait).await
}

/// The parameters both histories take, and how long to wait.
pub(super) async fn event_query(
    app: &App,
    team: TeamId,
    query: &Query,
    sandbox_id: Option<SandboxId>,
) -> Result<(EventQuery, Duration), ApiError> {
    let offset = query.integer("offset", 0..=i64::from(i32::MAX))?.unwrap_or(0);
    let (limit, order) = (query.limit(DEFAULT_LIMIT)?, query.order_asc()?);
    let wait = query.integer("wait", 0..=MAX_WAIT_S)?.unwrap_or(0);
    let wait = Duration::from_secs(u64::try_from(wait).unwrap_or(0));
    let ascending = order == Order::Asc;
    if !wait.is_zero() && !ascending {
        return Err(ApiError::bad_request(WAIT_DESCENDING));
    }
    let mut filter = event_filter::read(app, team, query, sandbox_id).await?;
    if filter.types.is_empty() && !event_filter::wants_all(query, "types") {
        // Whoever reads pages may know the lifecycle's types only: others are for those who name them.
        filter.types.extend(EventType::listed());
    }
    let position = match query.first("cursor").filter(|text| !text.is_empty()) {
        None => None,
        Some(_) if offset > 0 => return Err(ApiError::bad_request(OFFSET_AND_CURSOR)),
        Some("latest") if ascending => Some(app.store.events.last_sequence(team).await?),
        Some(text) => {
            let position = decode_position(text, ascending);
            Some(position.map_err(|error| ApiError::bad_request(error.to_string()))?)
        }
    };
    let offset = u32::try_from(offset).unwrap_or(u32::MAX);
    Ok((EventQuery { filter, position, offset, limit, order }, wait))
}

/// The page, as soon as it has events or there is no more time to wait for them.
pub(super) async fn answer(
    app: &App,
    team: TeamId,
    mut query: EventQuery,
    wait: Duration,
) -> Result<(HeaderMap, Json<Vec<Value>>), ApiError> {
    let ascending = query.order == Order::Asc;
    let mut page = app.store.events.event_page(team, query.clone()).await?;
    if ascending && query.position.is_some_and(|position| position > page.last) {
        return Err(ApiError::bad_request(BEYOND));
    }
    if !wait.is_zero() && is_empty(&page) {
        let mut reader = app.event_readers.join(team).ok_or_else(|| too_many(app))?;
        let waiting = async {
            loop {
                query.position = Some(page.position);
                query.offset = 0;
                page = app.store.events.event_page(team, query.clone()).await?;
                // A server that is about to stop answers with what there is.
                if !is_empty(&page) || !reader.changed().await {
                    return Ok::<_, ApiError>(());
                }
            }
        };
        if let Ok(result) = within(&*app.clock, wait, waiting).await {
            result?;
        }
    }
    Ok((headers(&page, ascending), Json(page.events.iter().map(render).collect())))
}

fn is_empty(page: &EventPage) -> bool {
    page.events.is_empty() && !page.has_more && page.lost.is_none()
}

fn headers(page: &EventPage, ascending: bool) -> HeaderMap {
    let cursor = (ascending || page.has_more).then(|| encode_position(page.position, ascending));
    let lost = page.lost.as_ref().map(|lost| format!("{}-{}", lost.start(), lost.end()));
    [("x-next-cursor", cursor), ("x-has-more", Some(page.has_more.to_string())), ("x-events-lost", lost)]
        .into_iter()
        .filter_map(|(name, value)| {
            Some((HeaderName::from_static(name), HeaderValue::try_from(value?).ok()?))
        })
        .collect()
}

/// The team waits for events as often as it may.
pub(super) fn too_many(app: &App) -> ApiError {
    let message = format!(
        "you have reached the maximum number of concurrent event streams and waiting requests ({})",
        app.event_readers.max_readers()
    );
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, message)
}
