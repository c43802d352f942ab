//! Errors as a driver needs them: with what the engine and the store said. At the door they become those of `lives`
//! (see `failure`).

use sandscope_engine::{EngineError, ReadError};
use sandscope_model::StateName;
use sandscope_store::StoreError;

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
    /// The engine could not make it.
    #[error("the sandbox could not be started")]
    Engine(#[source] EngineError),
    /// The store could not record it.
    #[error("the sandbox could not be recorded")]
    Store(#[from] StoreError),
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
    /// The engine could not do it.
    #[error("the engine failed")]
    Engine(#[source] EngineError),
    /// What it uses could not be read.
    #[error("the sandbox cannot be read")]
    Unreadable(#[source] ReadError),
    /// The store could not record it. If the engine had already acted, recording goes on in the background.
    #[error("the change could not be recorded")]
    Store(#[from] StoreError),
    /// The server failed while doing it, by a fault of its own. What was begun is finished or undone in the background.
    #[error("the server failed while doing it")]
    Broken,
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Draining,
}

/// Why the lifecycle could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The engine could not look at the host.
    #[error("cannot look for the sandboxes on this host")]
    Engine(#[source] EngineError),
    /// The store could not be read, or not record what was found.
    #[error("cannot bring the store in line with the host")]
    Store(#[from] StoreError),
    /// Somebody else has already taken the engine's notices.
    #[error("the engine already serves another lifecycle")]
    NoticesTaken,
    /// A sandbox's driver stopped while it was being recovered.
    #[error("recovery was interrupted")]
    Interrupted,
}
