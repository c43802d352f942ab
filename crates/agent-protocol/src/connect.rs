//! Errors of remote procedure calls, as the Connect protocol writes them.

use serde::{Deserialize, Serialize};

/// Content type of a unary call and of its answer.
pub const UNARY_CONTENT_TYPE: &str = "application/json";

/// Content type of a streaming call and of its answer.
pub const STREAM_CONTENT_TYPE: &str = "application/connect+json";

/// Header with a call's time limit, in whole milliseconds.
pub const TIMEOUT_HEADER: &str = "connect-timeout-ms";

/// Header with how often a stream should say that it is alive, in whole seconds.
pub const KEEPALIVE_HEADER: &str = "keepalive-ping-interval";

/// Why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The caller canceled the call.
    Canceled,
    /// Nobody knows.
    Unknown,
    /// The request makes no sense, whatever the state.
    InvalidArgument,
    /// The time limit passed.
    DeadlineExceeded,
    /// No such thing.
    NotFound,
    /// It is there already.
    AlreadyExists,
    /// The caller is known and may not.
    PermissionDenied,
    /// A limit is reached.
    ResourceExhausted,
    /// Not in this state.
    FailedPrecondition,
    /// Something else came between.
    Aborted,
    /// Past the end.
    OutOfRange,
    /// Not offered here.
    Unimplemented,
    /// A broken promise of ours.
    Internal,
    /// Try again later.
    Unavailable,
    /// Lost for good.
    DataLoss,
    /// Nobody the agent knows.
    Unauthenticated,
}

impl Code {
    /// The HTTP status of a unary call that failed with this code.
    pub fn http_status(self) -> u16 {
        match self {
            Self::Canceled => 499,
            Self::InvalidArgument | Self::FailedPrecondition | Self::OutOfRange => 400,
            Self::Unauthenticated => 401,
            Self::PermissionDenied => 403,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Aborted => 409,
            Self::ResourceExhausted => 429,
            Self::Unknown | Self::Internal | Self::DataLoss => 500,
            Self::Unimplemented => 501,
            Self::Unavailable => 503,
            Self::DeadlineExceeded => 504,
        }
    }
}

/// A failed call: `{"code":"not_found","message":"…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    /// The kind of failure, for programs.
    pub code: Code,
    /// What failed, for people.
    #[serde(default)]
    pub message: String,
}

impl ConnectError {
    /// An error with this code and these words.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The last frame of a stream: `{}`, or why it failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndOfStream {
    /// Absent when the call went well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ConnectError>,
}
