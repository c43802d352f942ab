//! Bodies, out and in: what is sent at once or piece by piece, and what is read of an answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;

/// What is sent.
#[derive(Debug)]
pub enum Outgoing {
    /// All of it is there.
    Whole(Full<Bytes>),
    /// Its pieces come from elsewhere. An error among them breaks the request off.
    Pieces(mpsc::Receiver<io::Result<Bytes>>),
}

impl From<Full<Bytes>> for Outgoing {
    fn from(body: Full<Bytes>) -> Self {
        Self::Whole(body)
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::Pieces(pieces) => pieces.poll_recv(context).map_ok(Frame::data),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Pieces(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}

/// Why an answer's body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// It is longer than this many bytes.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The connection broke, or the body is not as HTTP has it.
    #[error("the connection broke before the whole response had arrived")]
    Broken(#[from] hyper::Error),
}

/// The whole of `incoming`, if it is no longer than `limit` bytes.
///
/// # Errors
/// [`AnswerError`] if it is, or if it breaks.
pub async fn read_answer(incoming: Incoming, limit: usize) -> Result<Bytes, AnswerError> {
    let mut body = Vec::new();
    if read_up_to(incoming, limit, &mut body).await? {
        Ok(body.into())
    } else {
        Err(AnswerError::TooLarge(limit))
    }
}

/// Reads up to `limit` bytes into `body`; whether that was all of it.
pub(crate) async fn read_up_to(
    mut incoming: Incoming,
    limit: usize,
    body: &mut Vec<u8>,
) -> Result<bool, hyper::Error> {
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let room = limit.saturating_sub(body.len());
        body.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return Ok(false);
        }
    }
    Ok(true)
}
