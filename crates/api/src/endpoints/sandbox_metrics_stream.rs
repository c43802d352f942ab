//! `GET /sandboxes/{id}/metrics/stream`: a sandbox's metrics every second, as server-sent events.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::request::Parts;
use sandscope_model::{SandboxId, StateName};
use sandscope_sampler::{KEPT, LivePoint, LiveRound};
use sandscope_wire::metrics::LiveMetric;
use serde_json::json;
use tokio::sync::broadcast;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::live_metrics::{Over, Stream, open};
use crate::query::Query;
use crate::segments::SandboxPath;
use crate::{App, Health, paths};

/// A sandbox's metrics every second, as server-sent events. `last` sends that many seconds from memory first. While
/// it is paused there are none; an event named `end` says that it is gone.
#[utoipa::path(
    get,
    path = paths::SANDBOX_METRICS_STREAM,
    tag = "metrics",
    params(
        ("sandboxID" = String, Path),
        ("last" = Option<u32>, Query, minimum = 0, maximum = 300, description = "Seconds to send from memory first. \
         Default: 0"),
    ),
    responses((status = 200, description = "The stream, until either side ends it; each `data` is one second",
               body = LiveMetric, content_type = "text/event-stream"))
)]
pub(crate) async fn stream_sandbox_metrics(
    State(app): State<App>,
    caller: Caller,
    SandboxPath(id): SandboxPath,
    query: Query,
    parts: Parts,
) -> Result<Response, ApiError> {
    let last = query.integer("last", 0..=i64::try_from(KEPT).unwrap_or(i64::MAX))?.unwrap_or(0);
    let known = app.lives.sandbox(&id).await.filter(|sandbox| sandbox.team_id == caller.team.id);
    if known.is_none() {
        return Err(ApiError::no_such_sandbox(id.as_str()));
    }
    let (stream, answer) = open(&app, &caller, &parts)?;
    tokio::spawn(run(app, id, usize::try_from(last).unwrap_or(0), stream));
    Ok(answer)
}

async fn run(app: App, id: SandboxId, last: usize, mut stream: Stream) {
    let mut health = app.health.clone();
    tokio::select! {
        biased;
        _ = health.wait_for(|health| *health == Health::Draining) => {}
        _over = follow(&app, &id, last, &mut stream) => return,
    }
    let _gone = stream.comment("the server is about to stop").await;
}

async fn follow(app: &App, id: &SandboxId, last: usize, stream: &mut Stream) -> Result<(), Over> {
    let mut rounds = app.live_metrics.live.follow();
    stream.comment("following").await?;
    let recent = app.live_metrics.live.recent(id, last);
    let sent_until = recent.last().map(|sample| sample.at);
    for sample in &recent {
        stream.event(None, &LiveMetric::from(sample)).await?;
    }
    loop {
        let Some(round) = next(&mut rounds).await else { return Ok(()) };
        let own = round.points.iter().find(|point| point.sample.sandbox_id == *id);
        match own {
            Some(point) if sent_until.is_none_or(|until| point.sample.at > until) => {
                stream.event(None, &metric(point)).await?;
            }
            Some(_) => {}
            None => match app.lives.sandbox(id).await.map(|sandbox| sandbox.state.name()) {
                None | Some(StateName::Killed) => return stream.event(Some("end"), &json!({})).await,
                Some(state) => stream.comment(&state.to_string()).await?,
            },
        }
    }
}

/// The next round; one that is too slow goes on with the newest. `None`: there will be no more.
pub(super) async fn next(rounds: &mut broadcast::Receiver<Arc<LiveRound>>) -> Option<Arc<LiveRound>> {
    loop {
        match rounds.recv().await {
            Ok(round) => return Some(round),
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return None,
        }
    }
}

/// A point as answered.
pub(super) fn metric(point: &LivePoint) -> LiveMetric {
    LiveMetric { metric: (&point.sample).into(), pressure: point.pressures.map(Into::into) }
}
