//! Bodies of requests. What a refusal leaves of one is taken in before the answer goes out: a connection closed on
//! somebody who still writes is reset, and receive that instead of the refusal.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::EXPECT;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use crate::framing::{self, Kind};
use crate::permits::Permit;

/// How long the rest of a refused request is still taken in.
const LIMIT: Duration = Duration::from_secs(20);

/// The same of a stream. Short: a person may be feeding it.
const STREAM_LIMIT: Duration = Duration::from_millis(500);

/// Requests whose rest is taken in at a time. Strangers are among them, and must not keep all connections busy.
const MAX_DISCARDED: usize = 64;

static DISCARDED: AtomicUsize = AtomicUsize::new(0);

/// A request's body; it comes back to its [`Rest`] when it is dropped before its end.
pub(crate) struct RequestBody {
    body: Option<Incoming>,
    /// Whether the peer sends it, or was asked to.
    is_expected: bool,
    rest: Rc<RefCell<Option<Incoming>>>,
}

/// What becomes of the body of one request.
pub(crate) struct Rest {
    body: Rc<RefCell<Option<Incoming>>>,
    limit: Duration,
}

/// The request with a body that is not lost where nobody reads it to its end.
pub(crate) fn keep(request: Request<Incoming>) -> (Request<RequestBody>, Rest) {
    let limit = match framing::kind(request.headers()) {
        Some(Kind::Stream) => STREAM_LIMIT,
        Some(Kind::Unary) | None => LIMIT,
    };
    let rest = Rest { body: Rc::default(), limit };
    // Whoever waits for the word sends nothing before it; reading would give it.
    let is_expected = !request.headers().contains_key(EXPECT);
    let kept = Rc::clone(&rest.body);
    (request.map(|body| RequestBody { body: Some(body), is_expected, rest: kept }), rest)
}

impl Rest {
    /// Takes in what is left, within bounds; a client that writes on for longer is reset before it reads the refusal.
    pub(crate) async fn discard(self) {
        let Some(mut body) = self.body.take() else { return };
        let Some(_place) = Permit::take(&DISCARDED, MAX_DISCARDED) else { return };
        let rest = async { while let Some(Ok(_)) = body.frame().await {} };
        let _ = tokio::time::timeout(self.limit, rest).await;
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.is_expected = true;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
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

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| self.is_expected && !body.is_end_stream()) {
            *self.rest.borrow_mut() = Some(body);
        }
    }
}
