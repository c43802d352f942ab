//! `GET /sandboxes/{id}/timeline`: when a sandbox ran and when it was paused.

use crate::json::Json;
use axum::extract::State;
use sandscope_model::ledger::{open_execution, segments};
use sandscope_wire::ledger::{Timeline, TimelineSegment};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::segments::SandboxPath;
use crate::{App, paths};

/// Changes of state that one answer goes back.
const MAX_EVENTS: u32 = 5_000;

/// When a sandbox ran and when it was paused, and what ended each: folded from its events; also of one that is gone.
#[utoipa::path(
    get,
    path = paths::SANDBOX_TIMELINE,
    tag = "events",
    params(("sandboxID" = String, Path)),
    responses((status = 200, description = "Its segments, oldest first: at most the newest 5,000 changes of state",
               body = Timeline))
)]
pub(crate) async fn get_timeline(
    State(app): State<App>,
    caller: Caller,
    SandboxPath(id): SandboxPath,
) -> Result<Json<Timeline>, ApiError> {
    let history = app.store.events.sandbox_history(caller.team.id, &id, MAX_EVENTS).await?;
    let history = history.ok_or_else(|| ApiError::no_such_sandbox(id.as_str()))?;
    let now = app.clock.stamp();
    let state = history.sandbox.as_ref().map(|sandbox| &sandbox.state);
    let mut segments = segments(&history.events, state);
    let ran = state.and_then(open_execution).and_then(|execution| execution.ran_over_step(now));
    if let (Some(ran), Some(last)) = (ran, segments.last_mut()) {
        last.duration_ms = u64::try_from(ran.as_millis()).ok();
    }
    let segments = segments.iter().map(|segment| TimelineSegment::new(segment, now.at)).collect();
    Ok(Json(Timeline::new(id, history.is_complete, segments)))
}
