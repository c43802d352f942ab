//! `GET /sandboxes`: the team's running sandboxes. Newer clients use `/v2/sandboxes`.

use crate::json::Json;
use axum::extract::State;
use sandscope_store::{ListedState, Order, SandboxFilter};
use sandscope_wire::metadata::decode_filter;
use sandscope_wire::sandbox::ListedSandbox;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::query::Query;
use crate::{App, paths};

/// This list has no pages: far more than one host can run.
const MAX_LISTED: u32 = 10_000;

/// The team's running sandboxes, newest first.
#[utoipa::path(
    get,
    path = paths::SANDBOXES,
    tag = "sandboxes",
    params(("metadata" = Option<String>, Query, description = "Only those with all of these labels: `key=value` pairs \
            joined by `&`, keys and values percent-encoded twice")),
    responses((status = 200, description = "The sandboxes", body = [ListedSandbox]))
)]
pub(crate) async fn list_sandboxes(
    State(app): State<App>,
    caller: Caller,
    query: Query,
) -> Result<Json<Vec<ListedSandbox>>, ApiError> {
    let metadata = decode_filter(query.first("metadata").unwrap_or_default())
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let filter = SandboxFilter {
        states: vec![ListedState::Running],
        metadata,
        order: Order::Desc,
        limit: MAX_LISTED,
        ..SandboxFilter::default()
    };
    let found = app.store.facts.sandboxes(caller.team.id, filter).await?;
    let envd_version = app.lives.envd_version();
    let now = app.clock.stamp();
    Ok(Json(found.iter().filter_map(|sandbox| ListedSandbox::new(sandbox, envd_version, now)).collect()))
}
