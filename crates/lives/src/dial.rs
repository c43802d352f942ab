use std::fmt::Debug;
use std::sync::Arc;

use sandscope_model::Sandbox;
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Debug + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Debug + Send + Unpin + 'static> Duplex for T {}

/// Whether who connects may resume the sandbox, if its owner wished that traffic does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waking {
    /// They have shown what it takes.
    Allowed,
    /// They have not: a paused sandbox stays paused.
    Refused,
}

/// A connection into a sandbox.
#[derive(Debug)]
pub struct Dialed {
    /// The connection. Ends when dropped; small pieces are sent at once where that can be had.
    pub connection: Box<dyn Duplex>,
    /// The sandbox, as it was when the connection was made.
    pub sandbox: Arc<Sandbox>,
}

/// Why a port of a sandbox cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// There is no such sandbox, or it is paused and traffic does not resume it.
    #[error("no such running sandbox")]
    NotFound,
    /// Nothing listens on the port.
    #[error("the port is not open")]
    PortClosed,
    /// Traffic would resume it, but not this caller's.
    #[error("the sandbox is paused and the caller may not resume it")]
    MayNotWake,
    /// The sandbox was still between two states when the time to wait was over.
    #[error("the sandbox is between two states")]
    Transitioning,
    /// It would have been resumed, but the team runs as many sandboxes as it may.
    #[error("the team already runs {limit} sandboxes, its limit")]
    LimitReached {
        /// How many that is.
        limit: u32,
    },
    /// It could not be resumed or reached.
    #[error("the sandbox cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
