//! `GET /v2/sandboxes`: the team's sandboxes, running and paused, in pages.

use crate::json::Json;
use axum::extract::State;
use http::{HeaderMap, HeaderName, HeaderValue};
use sandscope_model::Timestamp;
use sandscope_store::{ListedState, Order, SandboxFilter};
use sandscope_wire::cursor;
use sandscope_wire::metadata::decode_filter;
use sandscope_wire::sandbox::ListedSandbox;

use super::next_token::next_token;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::query::Query;
use crate::{App, paths};

const UNKNOWN_STATE: &str = "State must be running or paused";
const UNKNOWN_ORDER: &str = "Order must be asc or desc";

/// The team's sandboxes, running and paused, by start of their execution.
#[utoipa::path(
    get,
    path = paths::SANDBOXES_V2,
    tag = "sandboxes",
    params(
        ("metadata" = Option<String>, Query, description = "Only those with all of these labels: `key=value` pairs \
         joined by `&`, keys and values percent-encoded twice"),
        ("state" = Option<String>, Query, description = "`running`, `paused` or both, joined by a comma. Default both"),
        ("order" = Option<String>, Query, description = "`asc` or `desc`. Default `desc`"),
        ("startedAfter" = Option<String>, Query, format = DateTime, description = "Only those started at or after this"),
        ("template" = Option<String>, Query, description = "Only those of this template: an id or name without tag"),
        ("limit" = Option<i32>, Query, minimum = 1, maximum = 100, description = "Default 100"),
        ("nextToken" = Option<String>, Query, description = "`X-Next-Token` of the page before"),
    ),
    responses((status = 200, description = "A page of sandboxes", body = [ListedSandbox], headers(
        ("X-Next-Token" = String, description = "Where the next page starts; absent on the last"),
        ("X-Total-Running" = i64, description = "How many running ones match, if running ones were asked for"),
    )))
)]
pub(crate) async fn list_sandboxes_v2(
    State(app): State<App>,
    caller: Caller,
    query: Query,
) -> Result<(HeaderMap, Json<Vec<ListedSandbox>>), ApiError> {
    let limit = query.limit(100)?;
    let mut filter = filter(&query, app.clock.now())?;
    if let Some(reference) = query.first("template").filter(|reference| !reference.is_empty()) {
        match app.store.facts.resolve_template(caller.team.id, reference).await? {
            Some((template, _)) => filter.template = Some(template.id),
            None => return Ok((HeaderMap::new(), Json(Vec::new()))),
        }
    }
    let filter = SandboxFilter { limit: limit + 1, ..filter };
    let counted = filter.states.is_empty() || filter.states.contains(&ListedState::Running);
    let ascending = filter.order == Order::Asc;
    let n_running = if counted {
        let all = SandboxFilter { after: None, ..filter.clone() };
        Some(app.store.facts.count_running(caller.team.id, all).await?)
    } else {
        None
    };
    let mut found = app.store.facts.sandboxes(caller.team.id, filter).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let last = found.last().filter(|_| more);
    let token = last.map(|sandbox| cursor::encode(sandbox.started_at, &sandbox.id, ascending));
    let mut headers = next_token(token);
    if let Some(n_running) = n_running {
        headers.insert(HeaderName::from_static("x-total-running"), HeaderValue::from(n_running));
    }
    let envd_version = app.lives.envd_version();
    let now = app.clock.stamp();
    let listed = found.iter().filter_map(|sandbox| ListedSandbox::new(sandbox, envd_version, now)).collect();
    Ok((headers, Json(listed)))
}

fn filter(query: &Query, now: Timestamp) -> Result<SandboxFilter, ApiError> {
    let bad = |error: &dyn std::fmt::Display| ApiError::bad_request(error.to_string());
    let metadata = decode_filter(query.first("metadata").unwrap_or_default()).map_err(|error| bad(&error))?;
    let states = query
        .list("state")
        .map(|state| match state {
            "running" => Ok(ListedState::Running),
            "paused" => Ok(ListedState::Paused),
            _ => Err(ApiError::bad_request(UNKNOWN_STATE)),
        })
        .collect::<Result<_, _>>()?;
    let order = match query.first("order") {
        None | Some("" | "desc") => Order::Desc,
        Some("asc") => Order::Asc,
        Some(_) => return Err(ApiError::bad_request(UNKNOWN_ORDER)),
    };
    let token = query.first("nextToken").filter(|token| !token.is_empty());
    let after = token.map(|token| cursor::decode(token, order == Order::Asc)).transpose();
    Ok(SandboxFilter {
        states,
        metadata,
        started_after: query.moment("startedAfter", now)?,
        template: None,
        order,
        after: after.map_err(|error| bad(&error))?,
        limit: 0,
    })
}
