use sandscope_model::StateName;

use crate::{HostError, RecordError};

/// Why no sandbox was made. Nothing of it remains.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The team can use no such template.
    #[error("template '{reference}' not found")]
    TemplateNotFound {
        /// What was asked for.
        reference: String,
    },
    /// The timeout is longer than the team may set.
    #[error("timeout cannot be greater than {max_hours} hours")]
    TimeoutTooLong {
        /// The longest it may set, in hours, rounded down but at least 1.
        max_hours: u32,
    },
    /// The team runs as many sandboxes as it may.
    #[error("the team already runs {limit} sandboxes, its limit")]
    LimitReached {
        /// How many that is.
        limit: u32,
    },
    /// The idempotency key was used before, with another request.
    #[error("the idempotency key was used with a different request")]
    IdempotencyMismatch,
    /// A request with this idempotency key is under way.
    #[error("a request with this idempotency key is still under way")]
    IdempotencyInProgress,
    /// Its host could not make it.
    #[error("the sandbox could not be started")]
    Host(#[source] HostError),
    /// It could not be recorded.
    #[error("the sandbox could not be recorded")]
    Record(#[source] RecordError),
    /// The server failed while making it, by a fault of its own.
    #[error("the server failed while making it")]
    Broken,
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Draining,
}

/// Why a request was refused or failed. Unless said otherwise nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The team has no such live sandbox.
    #[error("no such sandbox")]
    NotFound,
    /// Not possible in the state the sandbox is in.
    #[error("not possible while {state}")]
    Denied {
        /// That state.
        state: StateName,
    },
    /// The timeout is longer than the team may set.
    #[error("timeout cannot be greater than {max_hours} hours")]
    TimeoutTooLong {
        /// The longest it may set, in hours, rounded down but at least 1.
        max_hours: u32,
    },
    /// The team runs as many sandboxes as it may.
    #[error("the team already runs {limit} sandboxes, its limit")]
    LimitReached {
        /// How many that is.
        limit: u32,
    },
    /// Too many requests wait for this sandbox, or a change of it still has to be recorded: try again.
    #[error("the sandbox is busy")]
    Busy,
    /// Its host could not do it.
    #[error("the host failed")]
    Host(#[source] HostError),
    /// What it uses could not be read.
    #[error("the sandbox cannot be read")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It could not be recorded. If the host had already acted, recording goes on in the background.
    #[error("the change could not be recorded")]
    Record(#[source] RecordError),
    /// The server failed while doing it, by a fault of its own. What was begun is finished or undone in the background.
    #[error("the server failed while doing it")]
    Broken,
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Draining,
}

/// Why a template or snapshot was not deleted. It is there as before.
#[derive(Debug, thiserror::Error)]
pub enum DeleteTemplateError {
    /// The team has no such template.
    #[error("no such template")]
    NotFound,
    /// Live sandboxes use it.
    #[error("sandboxes use the template")]
    InUse,
    /// It comes with the server.
    #[error("the template comes with the server")]
    Shipped,
    /// It could not be recorded.
    #[error("the deletion could not be recorded")]
    Record(#[source] RecordError),
}
