//! What a watcher, or a request for one, is answered about limits.

use sandscope_agent_protocol::{Code, ConnectError};

/// Events did not reach the watcher.
pub(super) fn lost(why: &str) -> ConnectError {
    ConnectError::new(Code::DataLoss, format!("events were lost: {why}"))
}

/// A limit of the agent or of the kernel is reached.
pub(super) fn exhausted(message: impl Into<String>) -> ConnectError {
    ConnectError::new(Code::ResourceExhausted, message)
}
