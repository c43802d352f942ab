//! `GET /teams/{id}/metrics` and `…/max`: how many sandboxes a team runs, and how often it starts one, from its log.

use crate::json::Json;
use axum::extract::State;
use sandscope_model::Timestamp;
use sandscope_store::TeamActivity;
use sandscope_wire::metrics::{MaxTeamMetric, TeamMetric};

use super::sandbox_metrics::{BAD_RANGE, bounds, step_s};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::query::Query;
use crate::segments::TeamPath;
use crate::{App, paths};

/// The range where the request names none.
const DEFAULT_RANGE_S: i64 = 7 * 24 * 3600;
/// Steps at most: more than a year at the coarsest step.
const MAX_POINTS: usize = 40_000;

const BAD_METRIC: &str = "metric must be concurrent_sandboxes or sandbox_start_rate";

/// How many sandboxes the team ran at once and how often it started one, oldest first, a point for every step.
#[utoipa::path(
    get,
    path = paths::TEAM_METRICS,
    tag = "metrics",
    params(
        ("teamID" = String, Path),
        ("start" = Option<i64>, Query, minimum = 0, description = "Unix seconds, inclusive. Default: 7 days before the end"),
        ("end" = Option<i64>, Query, minimum = 0, description = "Unix seconds, inclusive. Default: now"),
    ),
    responses((status = 200, description = "One point per step (5 seconds below an hour, then 30, 60, 120, 300, 900)",
               body = [TeamMetric]))
)]
pub(crate) async fn get_team_metrics(
    State(app): State<App>,
    caller: Caller,
    TeamPath(team): TeamPath,
    query: Query,
) -> Result<Json<Vec<TeamMetric>>, ApiError> {
    team.check(&caller)?;
    let (activity, step_s) = activity(&app, &caller, &query).await?;
    Ok(Json(activity.points.iter().map(|point| TeamMetric::new(point, step_s)).collect()))
}

/// The most sandboxes the team ran at once, or its highest start rate, and when.
#[utoipa::path(
    get,
    path = paths::TEAM_METRICS_MAX,
    tag = "metrics",
    params(
        ("teamID" = String, Path),
        ("start" = Option<i64>, Query, minimum = 0, description = "Unix seconds, inclusive. Default: 7 days before the end"),
        ("end" = Option<i64>, Query, minimum = 0, description = "Unix seconds, inclusive. Default: now"),
        ("metric" = String, Query, description = "`concurrent_sandboxes` or `sandbox_start_rate`"),
    ),
    responses((status = 200, description = "The largest value", body = MaxTeamMetric))
)]
pub(crate) async fn get_team_metrics_max(
    State(app): State<App>,
    caller: Caller,
    TeamPath(team): TeamPath,
    query: Query,
) -> Result<Json<MaxTeamMetric>, ApiError> {
    team.check(&caller)?;
    let metric = query.first("metric").unwrap_or_default();
    let (activity, step_s) = match metric {
        "concurrent_sandboxes" | "sandbox_start_rate" => activity(&app, &caller, &query).await?,
        _ => return Err(ApiError::bad_request(BAD_METRIC)),
    };
    let found = if metric == "concurrent_sandboxes" {
        activity.peak.map(|(at, n)| (at, f64::from(n)))
    } else {
        // Of several steps the first.
        let busiest = activity.points.iter().rev().max_by_key(|point| point.n_created);
        busiest.map(|point| (point.at, f64::from(point.n_created) / f64::from(step_s)))
    };
    let (at, value) = found.unwrap_or((app.clock.now(), 0.0));
    Ok(Json(MaxTeamMetric::new(at, value)))
}

/// The caller's activity in the range asked for, cut to the time between the team's beginning and now.
async fn activity(app: &App, caller: &Caller, query: &Query) -> Result<(TeamActivity, u32), ApiError> {
    let (start_s, end_s) = bounds(query, app.clock.now())?;
    let now = app.clock.now();
    let to_s = end_s.unwrap_or(now.as_second());
    let from_s = start_s.unwrap_or(to_s.saturating_sub(DEFAULT_RANGE_S));
    if from_s > to_s {
        return Err(ApiError::bad_request(BAD_RANGE));
    }
    let step_s = step_s(to_s.saturating_sub(from_s));
    let from_s = from_s.max(caller.team.created_at.as_second());
    let end = Timestamp::new(to_s, 999_999_999).map_or(now, |end| end.min(now));
    let start = Timestamp::from_second(from_s).unwrap_or(end);
    if start > end {
        return Ok((TeamActivity { points: Vec::new(), peak: None }, step_s));
    }
    let activity = app.store.events.team_activity(caller.team.id, start, end, step_s, MAX_POINTS).await?;
    Ok((activity, step_s))
}
