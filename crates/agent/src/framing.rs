//! How remote procedure calls are framed: one message each way, or streams of them.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use sandscope_agent_protocol::connect::{STREAM_CONTENT_TYPE, UNARY_CONTENT_TYPE};

/// How a call is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Unary,
    Stream,
}

/// The framing that the request's content type names.
pub(crate) fn kind(headers: &HeaderMap) -> Option<Kind> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = content_type.split(';').next()?.trim();
    if essence.eq_ignore_ascii_case(UNARY_CONTENT_TYPE) {
        Some(Kind::Unary)
    } else if essence.eq_ignore_ascii_case(STREAM_CONTENT_TYPE) {
        Some(Kind::Stream)
    } else {
        None
    }
}
