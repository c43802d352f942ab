//! What is still coming of a request that has its answer: taken in for a while and forgotten. Closing on a peer that is
//! still writing resets the connection, and the peer hears of that instead of the answer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;

/// For how long, and how much at the most: who writes on for longer learns of it the hard way.
const LIMIT: Duration = Duration::from_secs(10);
const MOST: usize = 64 << 20;

/// The body of a request with these headers, which lingers where it is dropped half read.
pub(super) fn lingering(headers: &HeaderMap, body: Incoming) -> Body {
    // Whoever waits for the word sends nothing before it, and none must come after the answer.
    let waits = headers.contains_key(header::EXPECT);
    Body::new(Lingering { body: Some(body), is_expected: !waits })
}

struct Lingering {
    body: Option<Incoming>,
    /// Whether the peer sends it, or has been told to.
    is_expected: bool,
}

impl hyper::body::Body for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.is_expected = true;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let rest = self.body.take().filter(|body| self.is_expected && !body.is_end_stream());
        // Outside the runtime the server is on its way out.
        if let (Some(rest), Ok(runtime)) = (rest, Handle::try_current()) {
            runtime.spawn(discard(rest));
        }
    }
}

/// Ends with the connection as well.
async fn discard(mut body: Incoming) {
    let rest = async {
        let mut n_bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            n_bytes += frame.data_ref().map_or(0, Bytes::len);
            if n_bytes > MOST {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(LIMIT, rest).await;
}
