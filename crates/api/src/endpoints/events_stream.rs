//! `GET /events/stream`: the team's events as they are committed, as server-sent events.
//!
//! A task fills a bounded queue from which the connection is fed. Whoever does not read fills first the connection's
//! buffers, then the queue; after `StreamOptions::stall` without room the stream is cut, and goes on elsewhere from the
//! last `id` that arrived. Nothing waits for a reader but its own task.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::request::Parts;
use http_body::Frame;
use sandscope_model::EventFilter;
use sandscope_store::{EventQuery, Order, StoreError};
use serde_json::json;
use tokio::sync::mpsc;

use super::events_list::too_many;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::event_readers::{Hangup, Next, Reader, frame};
use crate::live_metrics::STREAM_HEAD;
use crate::query::Query;
use crate::{App, event_filter, paths};

/// Pieces that wait for the connection.
const QUEUE: usize = 4;
/// About how large a piece may be, in bytes.
const PIECE: usize = 64 * 1024;
/// Events read from the log at once.
const BATCH: u32 = 100;

/// The team's events as they are committed, as server-sent events: `id` is the event's `sequence`, `data` the event.
/// After a gap that cannot be filled comes an event named `reset`.
#[utoipa::path(
    get,
    path = paths::EVENT_STREAM,
    tag = "events",
    params(
        ("Last-Event-ID" = Option<String>, Header, description = "Go on behind this number: the last `id` received"),
        ("lastEventId" = Option<String>, Query, description = "The same, for clients that cannot send the header"),
        ("after" = Option<String>, Query, description = "Where to start if neither is given: a number, `oldest` or \
         `latest`. Default `latest`"),
        ("types" = Option<Vec<String>>, Query, description = "Only these types, repeated or joined by commas"),
        ("sandboxID" = Option<String>, Query, description = "Only this sandbox's"),
        ("reason" = Option<Vec<String>>, Query, description = "Only kills for these reasons (`kill_reason`), repeated \
         or joined by commas"),
        ("template" = Option<String>, Query, description = "Only of sandboxes of this template: an id or name"),
        ("metadata" = Option<String>, Query, description = "Only of sandboxes with all of these labels: `key=value` \
         pairs joined by `&`, keys and values percent-encoded twice or plain"),
        ("start" = Option<String>, Query, description = "Only what happened then or later: RFC 3339, seconds since \
         1970, or an age such as `1h`"),
        ("end" = Option<String>, Query, description = "Only what happened before then"),
    ),
    responses((status = 200, description = "The stream, until either side ends it", body = String,
               content_type = "text/event-stream"))
)]
pub(crate) async fn stream_events(
    State(app): State<App>,
    caller: Caller,
    query: Query,
    headers: HeaderMap,
    parts: Parts,
) -> Result<Response, ApiError> {
    let team = caller.team.id;
    let filter = event_filter::read(&app, team, &query, None).await?;
    let reader = app.event_readers.join(team).ok_or_else(|| too_many(&app))?;
    let position = start(&app, &caller, &query, &headers).await?;
    let hangup = parts.extensions.get::<Hangup>().cloned();
    let (pieces, body) = mpsc::channel(QUEUE);
    let stream = Stream { app, caller, filter, reader, position, pieces };
    tokio::spawn(stream.run(hangup));
    Ok((STREAM_HEAD, Body::new(Pieces(body))).into_response())
}

/// The number behind which the client wants to start.
async fn start(app: &App, caller: &Caller, query: &Query, headers: &HeaderMap) -> Result<u64, ApiError> {
    let (name, text) = match (headers.get("last-event-id"), query.first("lastEventId")) {
        (Some(value), _) => ("Last-Event-ID", value.to_str().unwrap_or("?")),
        (None, Some(text)) => ("LastEventId", text),
        (None, None) => ("After", query.first("after").unwrap_or("latest")),
    };
    match (name, text) {
        ("After", "latest" | "") => Ok(app.store.events.log_bounds(caller.team.id).await?.1),
        ("After", "oldest") => Ok(app.store.events.log_bounds(caller.team.id).await?.0.saturating_sub(1)),
        _ => {
            let number = text.parse().ok().filter(|n| i64::try_from(*n).is_ok_and(|n| n < i64::MAX));
            number.ok_or_else(|| {
                let words = if name == "After" { ", oldest or latest" } else { "" };
                ApiError::bad_request(format!("{name} must be the number of an event{words}"))
            })
        }
    }
}

struct Stream {
    app: App,
    caller: Caller,
    filter: EventFilter,
    reader: Reader,
    /// Every wanted event up to here is sent.
    position: u64,
    pieces: mpsc::Sender<Bytes>,
}

/// Why a stream ended.
enum End {
    /// The client is gone, or may not listen any more.
    Over,
    /// The client does not read.
    Stalled,
    /// The server is about to stop.
    Draining,
    /// The log cannot be read.
    Store(StoreError),
}

impl Stream {
    async fn run(mut self, hangup: Option<Hangup>) {
        let Err(end) = self.follow().await;
        match end {
            End::Over => {}
            End::Stalled => {
                tracing::info!(position = self.position, "an event stream was cut: its reader does not read");
                if let Some(Hangup(connection)) = hangup {
                    connection.notify_one();
                }
            }
            End::Draining => {
                let _ = self.send(Bytes::from_static(b": the server is about to stop\n\n")).await;
            }
            End::Store(error) => tracing::warn!(%error, "an event stream ended: the log cannot be read"),
        }
    }

    async fn follow(&mut self) -> Result<std::convert::Infallible, End> {
        // How soon to come back, and something to see at once.
        self.send(Bytes::from_static(b"retry: 1000\n: listening\n\n")).await?;
        self.catch_up().await?;
        loop {
            match self.reader.next(self.position, BATCH as usize) {
                Next::Events(events) => {
                    let mut piece = BytesMut::new();
                    for live in events {
                        if self.filter.matches(&live.event) {
                            piece.extend_from_slice(&live.frame);
                        }
                        self.position = live.event.sequence;
                        if piece.len() >= PIECE {
                            self.send(piece.split().freeze()).await?;
                        }
                    }
                    self.send(piece.freeze()).await?;
                }
                Next::ReadLog => {
                    self.catch_up().await?;
                    self.wait().await?;
                }
                Next::Nothing => self.wait().await?,
            }
        }
    }

    /// Sends what the log has.
    async fn catch_up(&mut self) -> Result<(), End> {
        loop {
            let query = EventQuery {
                filter: self.filter.clone(),
                position: Some(self.position),
                limit: BATCH,
                order: Order::Asc,
                offset: 0,
            };
            let page =
                self.app.store.events.event_page(self.caller.team.id, query).await.map_err(End::Store)?;
            if self.position > page.last {
                let data = json!({"reason": "ahead", "last": page.last,
                    "message": "the log ends before the number asked for: it is another log, or an older copy"});
                self.reset(page.last, &data).await?;
                continue;
            }
            if let Some(lost) = page.lost {
                let data = json!({"reason": "expired", "first": lost.start(), "last": lost.end(),
                    "message": "retention has removed these events: they cannot be read any more"});
                self.reset(*lost.end(), &data).await?;
            }
            let mut piece = BytesMut::new();
            for event in &page.events {
                piece.extend_from_slice(&frame(event));
                if piece.len() >= PIECE {
                    self.send(piece.split().freeze()).await?;
                }
            }
            self.send(piece.freeze()).await?;
            self.position = page.position;
            if !page.has_more {
                return Ok(());
            }
        }
    }

    /// Says that it goes on behind `position`, and why not where it was.
    async fn reset(&mut self, position: u64, data: &serde_json::Value) -> Result<(), End> {
        self.position = position;
        self.send(format!("event: reset\nid: {position}\ndata: {data}\n\n").into()).await
    }

    /// Waits for something new, and sends the client now and then a heartbeat with its position.
    async fn wait(&mut self) -> Result<(), End> {
        loop {
            tokio::select! {
                biased;
                () = self.pieces.closed() => return Err(End::Over),
                changed = self.reader.changed() => return if changed { Ok(()) } else { Err(End::Draining) },
                () = self.app.clock.sleep(self.app.streams.heartbeat) => {}
            }
            if !self.caller.is_still_known(&self.app).await {
                return Err(End::Over);
            }
            self.send(format!(": still here\nid: {}\n\n", self.position).into()).await?;
        }
    }

    async fn send(&self, piece: Bytes) -> Result<(), End> {
        if piece.is_empty() {
            return Ok(());
        }
        match self.pieces.send_timeout(piece, self.app.streams.stall).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(End::Over),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(End::Stalled),
        }
    }
}

/// The pieces of a stream, as a body.
struct Pieces(mpsc::Receiver<Bytes>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let piece = ready!(self.0.poll_recv(context));
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
}
