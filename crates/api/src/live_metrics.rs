//! Live metrics as server-sent events.
//!
//! ```text
//!   sampler ──► sandscope_sampler::Live ──► task of each stream ──► bounded queue ──► connection
//!                                                │ full for too long: cut
//! ```
//!
//! Ownership: a stream's task ends with its stream; it holds one of its team's places. Nothing waits for a reader but
//! its own task: one that does not read fills the connection, then the queue, and after `StreamOptions::stall` is cut
//! off.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, StatusCode, header};
use http_body_util::channel::{Channel, Sender};
use sandscope_model::TeamId;
use sandscope_sampler::Live;
use serde::Serialize;

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::event_readers::Hangup;

/// Pieces that wait for the connection.
const QUEUE: usize = 4;

/// Where live metrics come from, and who follows them.
#[derive(Debug, Clone, Default)]
pub struct LiveMetrics {
    pub(crate) live: Live,
    streams: Arc<Mutex<HashMap<TeamId, usize>>>,
}

impl LiveMetrics {
    /// What is published to `live`.
    pub fn new(live: Live) -> Self {
        Self { live, streams: Arc::default() }
    }

    /// A place for one more stream of the team.
    pub(crate) fn place(&self, team: TeamId, max: usize) -> Result<StreamPermit, ApiError> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let n = streams.entry(team).or_default();
        if *n >= max {
            let message = format!("the team already follows {max} streams of metrics, its limit");
            return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, message));
        }
        *n += 1;
        Ok(StreamPermit { team, streams: Arc::clone(&self.streams) })
    }
}

/// Counts as a stream while it lives.
#[derive(Debug)]
pub(crate) struct StreamPermit {
    team: TeamId,
    streams: Arc<Mutex<HashMap<TeamId, usize>>>,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = streams.get_mut(&self.team) {
            *n -= 1;
            if *n == 0 {
                streams.remove(&self.team);
            }
        }
    }
}

/// The sending end of a stream.
pub(crate) struct Stream {
    sender: Sender<Bytes>,
    stall: Duration,
    hangup: Option<Hangup>,
    _place: StreamPermit,
}

/// The stream is over: its reader is gone, or does not read.
#[derive(Debug)]
pub(crate) struct Over;

/// The head of every stream of events.
pub(crate) const STREAM_HEAD: [(HeaderName, &str); 3] = [
    (header::CONTENT_TYPE, "text/event-stream"),
    // A proxy between would wait for more, or compress it, before it passes anything on.
    (header::CACHE_CONTROL, "no-store, no-transform"),
    (HeaderName::from_static("x-accel-buffering"), "no"),
];

/// A stream of `caller`'s team, asked for by the request of `parts`, and the answer it is sent in.
pub(crate) fn open(app: &App, caller: &Caller, parts: &Parts) -> Result<(Stream, Response), ApiError> {
    let place = app.live_metrics.place(caller.team.id, app.streams.max_per_team)?;
    let (sender, body) = Channel::<Bytes>::new(QUEUE);
    let hangup = parts.extensions.get::<Hangup>().cloned();
    let stream = Stream { sender, stall: app.streams.stall, hangup, _place: place };
    Ok((stream, (STREAM_HEAD, Body::new(body)).into_response()))
}

impl Stream {
    /// Sends an event; one without a name is a `message`.
    pub(crate) async fn event(&mut self, name: Option<&str>, data: &impl Serialize) -> Result<(), Over> {
        let data = sandscope_wire::json::to_string(data).map_err(|_| Over)?;
        let name = name.map(|name| format!("event: {name}\n")).unwrap_or_default();
        self.send(format!("{name}data: {data}\n\n").into()).await
    }

    /// Sends what clients ignore, so that both sides know that the other is there.
    pub(crate) async fn comment(&mut self, text: &str) -> Result<(), Over> {
        self.send(format!(": {text}\n\n").into()).await
    }

    async fn send(&mut self, piece: Bytes) -> Result<(), Over> {
        match tokio::time::timeout(self.stall, self.sender.send_data(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Over),
            Err(_) => {
                tracing::info!("a stream of metrics was cut: its reader does not read");
                if let Some(Hangup(connection)) = &self.hangup {
                    connection.notify_one();
                }
                Err(Over)
            }
        }
    }
}
