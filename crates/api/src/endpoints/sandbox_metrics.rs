//! `GET /sandboxes/{id}/metrics`: a sandbox's samples over a range of time.

use crate::json::Json;
use axum::extract::State;
use sandscope_model::Timestamp;
use sandscope_store::Aggregate;
use sandscope_wire::metrics::SandboxMetric;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::query::Query;
use crate::segments::HistoryPath;
use crate::{App, paths};

pub(super) const BAD_RANGE: &str = "Invalid time range for metrics";

/// 2299-12-31T00:00:00Z: later times cannot be meant.
const LATEST_S: i64 = 10_413_705_600;

/// How far apart points are, by the length of the range: none of the steps makes more than a few thousand points.
pub(super) const fn step_s(range_s: i64) -> u32 {
    const HOUR: i64 = 3600;
    match range_s {
        ..HOUR => 5,
        HOUR..21_600 => 30,
        21_600..43_200 => 60,
        43_200..86_400 => 120,
        86_400..604_800 => 300,
        _ => 900,
    }
}

/// `start` and `end` of a query, in unix seconds: given so, or as a time in any other form.
pub(super) fn bounds(query: &Query, now: Timestamp) -> Result<(Option<i64>, Option<i64>), ApiError> {
    let bound = |name: &str| {
        let given = query.number_or_moment(name, now)?;
        let value = given.map(|given| given.unwrap_or_else(Timestamp::as_second));
        if value.is_some_and(|s| !(0..=LATEST_S).contains(&s)) {
            return Err(ApiError::bad_request(BAD_RANGE));
        }
        Ok(value)
    };
    let (start_s, end_s) = (bound("start")?, bound("end")?);
    if start_s.zip(end_s).is_some_and(|(start, end)| start > end) {
        return Err(ApiError::bad_request(BAD_RANGE));
    }
    Ok((start_s, end_s))
}

/// A sandbox's samples, oldest first; `[]` before the first, and for a sandbox the team does not know.
#[utoipa::path(
    get,
    path = paths::SANDBOX_METRICS,
    tag = "metrics",
    params(
        ("sandboxID" = String, Path),
        ("start" = Option<i64>, Query, minimum = 0, description = "Unix seconds, inclusive. Default: the first sample"),
        ("end" = Option<i64>, Query, minimum = 0, description = "Unix seconds, inclusive. Default: the last sample"),
        ("aggregate" = Option<String>, Query, description = "What stands for the samples of a step: `max` or `avg`. \
         Default: `max`"),
    ),
    responses((status = 200, description = "One point per step (5 seconds below an hour, then 30, 60, 120, 300, 900), \
               each the maximum of its samples", body = [SandboxMetric]))
)]
pub(crate) async fn get_sandbox_metrics(
    State(app): State<App>,
    caller: Caller,
    HistoryPath(id): HistoryPath,
    query: Query,
) -> Result<Json<Vec<SandboxMetric>>, ApiError> {
    let (start_s, end_s) = bounds(&query, app.clock.now())?;
    let aggregate = match query.first("aggregate") {
        None | Some("max") => Aggregate::Max,
        Some("avg") => Aggregate::Average,
        Some(_) => return Err(ApiError::bad_request("Aggregate must be max or avg")),
    };
    let Some(id) = id else { return Ok(Json(Vec::new())) };
    if !app.store.events.knows_sandbox(caller.team.id, &id).await? {
        return Ok(Json(Vec::new()));
    }
    let Some((first, last)) = app.store.samples.sample_range(&id).await? else { return Ok(Json(Vec::new())) };
    let from_s = start_s.unwrap_or(first.as_second());
    // A whole second: the last sample's own belongs to it.
    let to_s = end_s.unwrap_or(last.as_second());
    let step_s = step_s(to_s.saturating_sub(from_s));
    let time = |s: i64| Timestamp::from_second(s).ok();
    let end = Timestamp::new(to_s, 999_999_999).ok();
    let samples =
        app.store.samples.aggregated_samples(&id, time(from_s), end, Some(step_s), aggregate).await?;
    Ok(Json(samples.iter().map(SandboxMetric::from).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_the_range() {
        let hours = [0, 1, 5, 6, 11, 12, 23, 24, 24 * 7 - 1, 24 * 7];
        let steps = hours.map(|hours| step_s(hours * 3600));
        assert_eq!(steps, [5, 30, 30, 60, 60, 120, 120, 300, 300, 900]);
        assert_eq!(step_s(i64::MAX), 900);
        assert_eq!(step_s(-1), 5);
    }
}
