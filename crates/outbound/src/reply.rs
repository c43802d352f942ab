use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// A complete answer.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// What came back, as far as it came.
#[derive(Debug, Default)]
pub struct PartialReply {
    /// The answer's status, once its head has arrived.
    pub status: Option<StatusCode>,
    /// Its headers, once its head has arrived.
    pub headers: Option<HeaderMap>,
    /// Its body so far, at most as long as the client's limit.
    pub body: Vec<u8>,
    /// There was more.
    pub is_cut: bool,
}
