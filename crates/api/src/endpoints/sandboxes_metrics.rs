//! `GET /sandboxes/metrics`: the newest sample of several sandboxes.

use std::collections::BTreeSet;

use crate::json::Json;
use axum::extract::State;
use sandscope_model::SandboxId;
use sandscope_wire::metrics::{SandboxMetric, SandboxesWithMetrics};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::query::Query;
use crate::{App, paths};

const MAX_SANDBOXES: usize = 100;
const MISSING: &str = "sandbox_ids must be given";
const TOO_MANY: &str = "sandbox_ids must not name more than 100 sandboxes";
const REPEATED: &str = "sandbox_ids must be unique";
const MALFORMED: &str = "Invalid sandbox ID";

/// The newest sample of several sandboxes; those without one, or not the team's, are left out.
#[utoipa::path(
    get,
    path = paths::SANDBOXES_METRICS,
    tag = "metrics",
    params(("sandbox_ids" = String, Query, description = "Up to 100 sandbox ids, joined by commas")),
    responses((status = 200, description = "The samples", body = SandboxesWithMetrics))
)]
pub(crate) async fn get_sandboxes_metrics(
    State(app): State<App>,
    caller: Caller,
    query: Query,
) -> Result<Json<SandboxesWithMetrics>, ApiError> {
    let ids = ids(&query)?;
    let mut own = Vec::with_capacity(ids.len());
    for id in ids {
        if app.store.events.knows_sandbox(caller.team.id, &id).await? {
            own.push(id);
        }
    }
    let samples = app.store.samples.latest_samples(&own).await?;
    let sandboxes =
        samples.iter().map(|sample| (sample.sandbox_id.to_string(), SandboxMetric::from(sample))).collect();
    Ok(Json(SandboxesWithMetrics { sandboxes }))
}

fn ids(query: &Query) -> Result<BTreeSet<SandboxId>, ApiError> {
    let mut ids = BTreeSet::new();
    for text in query.list("sandbox_ids") {
        let id = text.parse().map_err(|_| ApiError::bad_request(MALFORMED))?;
        if !ids.insert(id) {
            return Err(ApiError::bad_request(REPEATED));
        }
    }
    match ids.len() {
        0 => Err(ApiError::bad_request(MISSING)),
        1..=MAX_SANDBOXES => Ok(ids),
        _ => Err(ApiError::bad_request(TOO_MANY)),
    }
}
