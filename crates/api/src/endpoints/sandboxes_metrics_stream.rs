//! `GET /sandboxes/metrics/stream`: all of a team's sandboxes every second, as server-sent events.

use axum::extract::State;
use axum::response::Response;
use http::request::Parts;
use sandscope_model::TeamId;
use sandscope_wire::metrics::LiveTeam;

use super::sandbox_metrics_stream::{metric, next};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::live_metrics::{Over, Stream, open};
use crate::{App, Health, paths};

/// The metrics of all running sandboxes of the team every second, as server-sent events.
#[utoipa::path(
    get,
    path = paths::SANDBOXES_METRICS_STREAM,
    tag = "metrics",
    responses((status = 200, description = "The stream, until either side ends it; each `data` is one second",
               body = LiveTeam, content_type = "text/event-stream"))
)]
pub(crate) async fn stream_sandboxes_metrics(
    State(app): State<App>,
    caller: Caller,
    parts: Parts,
) -> Result<Response, ApiError> {
    let (stream, answer) = open(&app, &caller, &parts)?;
    tokio::spawn(run(app, caller.team.id, stream));
    Ok(answer)
}

async fn run(app: App, team: TeamId, mut stream: Stream) {
    let mut health = app.health.clone();
    tokio::select! {
        biased;
        _ = health.wait_for(|health| *health == Health::Draining) => {}
        _over = follow(&app, team, &mut stream) => return,
    }
    let _gone = stream.comment("the server is about to stop").await;
}

async fn follow(app: &App, team: TeamId, stream: &mut Stream) -> Result<(), Over> {
    let mut rounds = app.live_metrics.live.follow();
    stream.comment("following").await?;
    let mut told_at = 0;
    loop {
        let Some(round) = next(&mut rounds).await else { return Ok(()) };
        // Sandboxes that were just made are read between the seconds.
        if round.points.is_empty() && round.at.as_second() == told_at {
            continue;
        }
        told_at = round.at.as_second();
        let own = round.points.iter().filter(|point| point.team_id == team);
        let sandboxes = own.map(|point| (point.sample.sandbox_id.to_string(), metric(point))).collect();
        stream.event(None, &LiveTeam { timestamp_unix: told_at, sandboxes }).await?;
    }
}
