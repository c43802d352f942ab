//! Answers: their bodies and the plain HTTP errors.

use std::io;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use sandscope_agent_protocol::rest::ErrorBody;
use serde::Serialize;

use crate::places::Place;

/// A body that is there at once, or one that comes piece by piece.
pub(crate) enum Body {
    Whole(Bytes),
    Pieces(Pin<Box<dyn HttpBody<Data = Bytes, Error = io::Error>>>),
}

pub(crate) type Answer = Response<Body>;

impl Body {
    pub(crate) fn empty() -> Self {
        Self::Whole(Bytes::new())
    }

    pub(crate) fn pieces(body: impl HttpBody<Data = Bytes, Error = io::Error> + 'static) -> Self {
        Self::Pieces(Box::pin(body))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Pieces(body) => body.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Pieces(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pieces(body) => body.size_hint(),
        }
    }
}

pub(crate) fn status(status: StatusCode) -> Answer {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

pub(crate) fn json(code: StatusCode, message: &impl Serialize) -> Answer {
    let Ok(bytes) = serde_json::to_vec(message) else {
        return status(StatusCode::INTERNAL_SERVER_ERROR);
    };
    encoded_json(code, bytes)
}

pub(crate) fn encoded_json(code: StatusCode, bytes: Vec<u8>) -> Answer {
    let mut answer = status(code);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *answer.body_mut() = Body::Whole(bytes.into());
    answer
}

/// A refusal of the plain HTTP part: `{"code":404,"message":"…"}`.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        json(refusal.status, &ErrorBody { code: refusal.status.as_u16(), message: refusal.message })
    }
}

/// Refused requests whose rest is taken in at a time. Strangers are among them, and must not keep all connections busy.
const MAX_DISCARDED: usize = 64;

static DISCARDED: AtomicUsize = AtomicUsize::new(0);

/// Takes in what is still coming of a request that is refused, for at most `limit`: whoever is still writing would
/// otherwise hear of a broken connection instead of the refusal.
pub(crate) async fn discard(body: &mut Incoming, limit: Duration) {
    let Some(_place) = Place::take(&DISCARDED, MAX_DISCARDED) else { return };
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    // Who writes on for longer learns of it the hard way.
    let _ = tokio::time::timeout(limit, rest).await;
}
