//! What goes wrong, as HTTP. The texts are part of the contract: clients match on them.

use crate::json::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, Uri};
use sandscope_lives::{CreateError, HostFault, RecordError, RecordFault, RequestError};
use sandscope_model::{SandboxId, StateName};
use sandscope_store::StoreError;
use sandscope_wire::error::ErrorBody;

/// An answer that is not a success.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    message: String,
    error_code: Option<&'static str>,
    /// Trying again cannot help: the answer asks clients not to.
    permanent: bool,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), error_code: None, permanent: false }
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// `what` is something this server does not have.
    pub(crate) fn not_implemented(what: &str) -> Self {
        let message = format!("{what} is not implemented by this server yet");
        Self { permanent: true, ..Self::new(StatusCode::NOT_IMPLEMENTED, message) }
    }

    /// `what` is something that this server's engine cannot do on this host.
    fn unsupported(what: &str) -> Self {
        let message = format!("This server's engine does not support {what} on this host");
        Self { permanent: true, ..Self::new(StatusCode::NOT_IMPLEMENTED, message) }
    }

    pub(crate) fn no_such_sandbox(id: &str) -> Self {
        Self::not_found(format!("Sandbox \"{id}\" doesn't exist or you don't have access to it"))
    }

    pub(crate) fn no_such_template(reference: &str) -> Self {
        Self::not_found(format!("template '{reference}' not found"))
    }

    pub(crate) fn with_code(self, error_code: &'static str) -> Self {
        Self { error_code: Some(error_code), ..self }
    }

    /// The answer asks clients not to try again.
    pub(crate) fn permanent(self) -> Self {
        Self { permanent: true, ..self }
    }

    fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    fn draining() -> Self {
        Self::unavailable("Service is unavailable: the server is shutting down")
    }

    pub(crate) fn unwell() -> Self {
        Self::unavailable(
            "Service is unavailable: a part of the server has failed and is being started again",
        )
    }

    fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
            .with_code("internal_server_error")
    }

    fn no_capacity() -> Self {
        Self::unavailable("Service is unavailable: the host has no room for another sandbox")
            .with_code("sandbox_capacity_unavailable")
    }

    fn disk_short() -> Self {
        let message =
            "The host's disk is short of room: no new sandboxes and snapshots until there is room again";
        Self::new(StatusCode::INSUFFICIENT_STORAGE, message).with_code("sandbox_capacity_unavailable")
    }

    fn limit_reached(limit: u32) -> Self {
        let message = format!(
            "you have reached the maximum number of concurrent E2B sandboxes ({limit}). If you need \
             more, ask the operator to raise [team] max_concurrent_sandboxes"
        );
        Self { permanent: true, ..Self::new(StatusCode::TOO_MANY_REQUESTS, message) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            code: self.status.as_u16(),
            message: self.message,
            error_code: self.error_code.map(ToOwned::to_owned),
        };
        let mut response = (self.status, Json(body)).into_response();
        if self.permanent {
            response.headers_mut().insert("should-retry", HeaderValue::from_static("false"));
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let fault = match error {
            StoreError::Full => RecordFault::Full,
            StoreError::ReadOnly => RecordFault::ReadOnly,
            StoreError::Closed => RecordFault::Closed,
            StoreError::Busy => RecordFault::Busy,
            _ if error.is_unavailable() => RecordFault::Unavailable,
            _ => RecordFault::Other,
        };
        of_facts(fault, &error)
    }
}

impl From<RecordError> for ApiError {
    fn from(error: RecordError) -> Self {
        of_facts(error.fault, &*error.source)
    }
}

/// The facts could not be read or written.
fn of_facts(fault: RecordFault, error: &(dyn std::error::Error + 'static)) -> ApiError {
    let sentence = match fault {
        RecordFault::Full => "Service is unavailable: the server's disk is full; reads are still served",
        RecordFault::ReadOnly => {
            "Service is unavailable: the server's data directory is read-only; reads are still served"
        }
        RecordFault::Closed => "Service is unavailable: the server is shutting down",
        RecordFault::Busy => "Service is unavailable: the server's store is busy",
        RecordFault::Unavailable => "Service is unavailable: the server's data directory cannot be accessed",
        RecordFault::Other => {
            tracing::error!(error, "the store failed");
            return ApiError::internal();
        }
    };
    tracing::warn!(error, "refused: the store is unavailable");
    ApiError::unavailable(sentence)
}

impl From<CreateError> for ApiError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::TemplateNotFound { reference } => Self::no_such_template(&reference),
            CreateError::TimeoutTooLong { max_hours } => timeout_too_long(max_hours),
            CreateError::LimitReached { limit } => Self::limit_reached(limit),
            CreateError::IdempotencyMismatch => {
                let message = "The idempotency key was used with a different request";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, message).with_code("idempotency_request_mismatch")
            }
            CreateError::IdempotencyInProgress => {
                Self::conflict("A request with this idempotency key is in progress")
                    .with_code("idempotency_in_progress")
            }
            CreateError::Host(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot create a sandbox");
                match error.fault {
                    HostFault::Unsupported(what) => Self::unsupported(what),
                    HostFault::NoCapacity => Self::no_capacity(),
                    HostFault::DiskFull => Self::disk_short(),
                    HostFault::RootfsMissing => {
                        let message = "Failed to create sandbox: its root filesystem is missing on the host";
                        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
                            .with_code("sandbox_create_failed")
                            .permanent()
                    }
                    // The host's words name its paths and limits: they belong into the log.
                    HostFault::DiskUnwritable | HostFault::Other => {
                        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Failed to create sandbox")
                            .with_code("sandbox_create_failed")
                    }
                }
            }
            CreateError::Record(error) => error.into(),
            CreateError::Broken => Self::internal(),
            CreateError::Draining => Self::draining(),
        }
    }
}

pub(crate) fn timeout_too_long(max_hours: u32) -> ApiError {
    ApiError::bad_request(format!("Timeout cannot be greater than {max_hours} hours"))
}

/// Why something could not be done with the sandbox `id`; `denied` words the refusal in its present state.
pub(crate) fn of_request(
    id: &SandboxId,
    error: RequestError,
    denied: impl FnOnce(StateName) -> String,
) -> ApiError {
    match error {
        RequestError::NotFound => ApiError::no_such_sandbox(id.as_str()),
        RequestError::Denied { state } => ApiError::conflict(denied(state)),
        RequestError::TimeoutTooLong { max_hours } => timeout_too_long(max_hours),
        RequestError::LimitReached { limit } => ApiError::limit_reached(limit),
        RequestError::Busy => ApiError::unavailable(format!("Sandbox '{id}' is busy, try again")),
        RequestError::Host(error) => {
            tracing::error!(sandbox_id = %id, error = &error as &dyn std::error::Error, "the host failed");
            match error.fault {
                HostFault::Unsupported(what) => ApiError::unsupported(what),
                HostFault::NoCapacity => ApiError::unavailable(
                    "Service is unavailable: the host has no room for this; try again later",
                )
                .with_code("sandbox_capacity_unavailable"),
                HostFault::DiskUnwritable => ApiError::unavailable(
                    "Service is unavailable: the server's disk is full or cannot be written; reads are still served",
                ),
                HostFault::DiskFull => ApiError::disk_short(),
                HostFault::RootfsMissing | HostFault::Other => ApiError::internal(),
            }
        }
        RequestError::Unreadable(error) => {
            tracing::error!(sandbox_id = %id, error = &*error as &dyn std::error::Error, "a sandbox cannot be read");
            ApiError::internal()
        }
        RequestError::Record(error) => error.into(),
        RequestError::Broken => ApiError::internal(),
        RequestError::Draining => ApiError::draining(),
    }
}

/// The usual words for what cannot be done in a state: `Sandbox 'i…' cannot be paused while in 'killing' state`.
pub(crate) fn denied_in_state(id: &SandboxId, what: &'static str) -> impl FnOnce(StateName) -> String {
    move |state| format!("Sandbox '{id}' cannot be {what} while in '{state}' state")
}

pub(crate) async fn unknown_route(method: Method, uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    ApiError::not_found(format!("no such route: {method} {path}"))
}

pub(crate) async fn unknown_method(method: Method, uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, format!("method {method} is not allowed for {path}"))
}

pub(crate) fn panicked() -> Response {
    ApiError::internal().into_response()
}
