//! Remote procedure calls: reading requests within bounds, writing answers and errors as Connect does.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use sandscope_agent_protocol::connect::{EndOfStream, KEEPALIVE_HEADER, STREAM_CONTENT_TYPE, TIMEOUT_HEADER};
use sandscope_agent_protocol::frame::{self, HEADER_BYTES, MAX_PAYLOAD_BYTES};
use sandscope_agent_protocol::{Code, ConnectError, FrameDecoder};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::body::{self, Answer, Body};
use crate::framing::Kind;
use crate::request_body::RequestBody;

/// How long a caller may take to send a request's body.
pub(crate) const BODY_DEADLINE: Duration = Duration::from_secs(60);

/// How often a stream says that it is alive where the caller names nothing.
const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(90);
const MAX_KEEPALIVE_SECONDS: u64 = 3600;

/// When the call must be over, if the caller says so.
pub(crate) fn deadline(headers: &HeaderMap) -> Result<Option<Instant>, ConnectError> {
    let Some(value) = headers.get(TIMEOUT_HEADER) else {
        return Ok(None);
    };
    let milliseconds = value
        .to_str()
        .ok()
        .and_then(|text| text.parse::<u64>().ok())
        .ok_or_else(|| invalid("the Connect-Timeout-Ms header must be a whole number of milliseconds"))?;
    // A time limit beyond what the clock can say is none.
    Ok(Instant::now().checked_add(Duration::from_millis(milliseconds)))
}

/// How often the stream should say that it is alive.
pub(crate) fn keepalive(headers: &HeaderMap) -> Duration {
    headers
        .get(KEEPALIVE_HEADER)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
        .filter(|seconds| *seconds > 0)
        .map_or(DEFAULT_KEEPALIVE, |seconds| Duration::from_secs(seconds.min(MAX_KEEPALIVE_SECONDS)))
}

/// Reads the message of a unary call.
pub(crate) async fn unary<T: DeserializeOwned>(request: Request<RequestBody>) -> Result<T, ConnectError> {
    if let Some(encoding) = request.headers().get(CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(ConnectError::new(Code::Unimplemented, "compressed requests are not supported"));
    }
    let bytes = collect(request.into_body(), MAX_PAYLOAD_BYTES).await?;
    parse(if bytes.is_empty() { b"{}" } else { &bytes })
}

/// Reads the one message of a call whose answer streams.
pub(crate) async fn single<T: DeserializeOwned>(body: RequestBody) -> Result<T, ConnectError> {
    let bytes = collect(body, MAX_PAYLOAD_BYTES + 2 * HEADER_BYTES).await?;
    let mut decoder = FrameDecoder::default();
    decoder.push(&bytes);
    match decoder.next().map_err(|error| invalid(error.to_string()))? {
        Some(frame) if !frame.end_of_stream => parse(&frame.payload),
        _ => Err(invalid("the request has no message")),
    }
}

pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ConnectError> {
    serde_json::from_slice(bytes).map_err(|error| invalid(format!("cannot read the message: {error}")))
}

async fn collect(body: RequestBody, limit: usize) -> Result<Bytes, ConnectError> {
    let collected =
        tokio::time::timeout(BODY_DEADLINE, Limited::new(body, limit).collect()).await.map_err(|_| {
            ConnectError::new(Code::DeadlineExceeded, "the request's body did not arrive in time")
        })?;
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(ConnectError::new(
            Code::ResourceExhausted,
            format!("the request is larger than the limit of {limit} bytes"),
        )),
        Err(_) => Err(ConnectError::new(Code::Canceled, "the request's body broke off")),
    }
}

/// Ends a unary call at its deadline.
pub(crate) async fn within<T>(
    deadline: Option<Instant>,
    call: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    match deadline {
        None => call.await,
        Some(deadline) => tokio::time::timeout_at(deadline, call).await.unwrap_or_else(|_| Err(too_late())),
    }
}

pub(crate) fn too_late() -> ConnectError {
    ConnectError::new(Code::DeadlineExceeded, "the call's time limit passed")
}

pub(crate) fn invalid(message: impl Into<String>) -> ConnectError {
    ConnectError::new(Code::InvalidArgument, message)
}

/// The error of a call that this agent does not have, or not in this framing.
pub(crate) fn unimplemented(service: &str, call: &str, kind: Kind) -> ConnectError {
    let framing = match kind {
        Kind::Unary => "a unary call",
        Kind::Stream => "a stream",
    };
    ConnectError::new(Code::Unimplemented, format!("{service}/{call} is not available as {framing}"))
}

pub(crate) fn unary_answer<T: Serialize>(result: Result<T, ConnectError>) -> Answer {
    encoded_answer(result.map(|message| serde_json::to_vec(&message).unwrap_or_default()))
}

/// The answer whose message is JSON already.
pub(crate) fn encoded_answer(result: Result<Vec<u8>, ConnectError>) -> Answer {
    match result {
        Ok(bytes) => body::encoded_json(StatusCode::OK, bytes),
        Err(error) => {
            let status = StatusCode::from_u16(error.code.http_status());
            body::json(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &error)
        }
    }
}

/// A refusal of whichever kind the call is.
pub(crate) fn refuse(kind: Kind, error: ConnectError) -> Answer {
    match kind {
        Kind::Unary => unary_answer::<()>(Err(error)),
        Kind::Stream => stream_answer(Body::Whole(end_frame(Some(error)))),
    }
}

pub(crate) fn stream_answer(body: Body) -> Answer {
    let mut answer = body::status(StatusCode::OK);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(STREAM_CONTENT_TYPE));
    // A proxy between would wait for more, or compress it, before it passes anything on.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    *answer.body_mut() = body;
    answer
}

/// Encodes a message of ours. They are made of strings, numbers and bytes only and always have a JSON form.
pub(crate) fn frame<T: Serialize>(message: &T) -> Bytes {
    frame::encode(message).unwrap_or_default()
}

pub(crate) fn end_frame(error: Option<ConnectError>) -> Bytes {
    frame::encode_end(&EndOfStream { error }).unwrap_or_default()
}
