//! Requests that are answered before they were read to their end.
//!
//! ```text
//! the body is dropped half read ─┬─ before the answer ─► taken in (1 MiB, 2 s) ─┬─ all of it ─► the connection goes on
//!                                │                                               └─ not all ──► `connection: close`
//!                                └─ after it, or not all came ─► taken in and forgotten (64 MiB, 10 s)
//! ```
//!
//! Two things go wrong otherwise. hyper closes such a connection after the answer without saying so, and a client that
//! keeps connections learns of it from its next request, which breaks. And closing on a peer that is still writing resets
//! the connection: the peer sees that instead of the answer. HTTP/2 has only the second trouble: its streams end one by
//! one.
//!
//! A client that waits for `100 Continue` sends nothing before it, and reading would ask for it: such a body is left
//! alone until somebody has read from it. A body that is still being read while the answer goes out, as whoever forwards
//! it may, is left alone until it is dropped.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Version};
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// What is taken in before the answer goes out.
const MAX_BYTES: usize = 1 << 20;
const MAX_WAIT: Duration = Duration::from_secs(2);

/// What is taken in afterwards: a peer that writes on for longer sees the connection reset.
const MAX_LATE_BYTES: usize = 64 << 20;
const MAX_LATE_WAIT: Duration = Duration::from_secs(10);

/// Leaves the connection fit for the next request, or says that it ends.
pub(super) async fn settle(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let is_expected = !request.headers().contains_key(EXPECT);
    let stage = if request.version() > Version::HTTP_11 { Stage::Answered } else { Stage::Unanswered };
    let rest = Rest(Arc::new(Mutex::new(stage)));
    let unread = rest.clone();
    let mut response =
        next.run(request.map(|body| Body::new(HalfRead { body: Some(body), is_expected, rest }))).await;
    let is_over = match unread.answered() {
        None => true,
        Some((_, false)) => false,
        Some((mut body, true)) => {
            let came = timeout(MAX_WAIT, take_in(&mut body, MAX_BYTES)).await.unwrap_or(false);
            if !came {
                forget(body);
            }
            came
        }
    };
    if !is_over {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether the body came to its end within `most` bytes.
async fn take_in(body: &mut Body, most: usize) -> bool {
    let mut left = most;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return false,
        }
    }
    true
}

/// Takes in what still comes, beside the answer. Ends with the connection as well.
fn forget(mut body: Body) {
    // Outside the runtime the server is on its way out.
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async move { timeout(MAX_LATE_WAIT, take_in(&mut body, MAX_LATE_BYTES)).await });
    }
}

/// What becomes of a body that is dropped before its end.
#[derive(Clone)]
struct Rest(Arc<Mutex<Stage>>);

enum Stage {
    Unanswered,
    /// Dropped before the answer; whether the peer sends it, or was asked to.
    Left(Body, bool),
    Answered,
}

impl Rest {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer is decided: hands over what was left until now.
    fn answered(&self) -> Option<(Body, bool)> {
        match std::mem::replace(&mut *self.stage(), Stage::Answered) {
            Stage::Left(body, is_expected) => Some((body, is_expected)),
            Stage::Unanswered | Stage::Answered => None,
        }
    }
}

/// A request's body that is not lost where nobody reads it to its end.
struct HalfRead {
    body: Option<Body>,
    /// Whether the peer sends it, or was asked to.
    is_expected: bool,
    rest: Rest,
}

impl HttpBody for HalfRead {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.is_expected = true;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for HalfRead {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        let mut stage = self.rest.stage();
        if matches!(*stage, Stage::Unanswered) {
            *stage = Stage::Left(body, self.is_expected);
        } else if self.is_expected {
            forget(body);
        }
    }
}

#[cfg(test)]
#[path = "unread_tests.rs"]
mod tests;
