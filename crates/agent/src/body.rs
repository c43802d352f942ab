//! Answers: their bodies and the plain HTTP errors.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use sandscope_agent_protocol::rest::ErrorBody;
use serde::Serialize;

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
