//! What the edge itself answers. The clients tell these apart by status and by the words in `message`.

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use sandscope_lifecycle::DialError;
use serde_json::{Value, json};

use crate::Target;

fn answer(status: StatusCode, mut body: Value) -> Response<Body> {
    body["code"] = status.as_u16().into();
    (status, Json(body)).into_response()
}

fn about(target: &Target, message: &str) -> Value {
    json!({ "sandboxId": target.id, "message": message })
}

pub(crate) fn reserved(path: &str) -> Response<Body> {
    let message =
        "This endpoint is reserved for the E2B control plane and is not reachable through the sandbox URL";
    answer(StatusCode::NOT_FOUND, json!({ "message": message, "path": path }))
}

pub(crate) fn no_tunnels(target: &Target) -> Response<Body> {
    answer(StatusCode::METHOD_NOT_ALLOWED, about(target, "CONNECT is not possible; use an upgrade"))
}

pub(crate) fn not_found(target: &Target) -> Response<Body> {
    answer(StatusCode::BAD_GATEWAY, about(target, "The sandbox was not found"))
}

pub(crate) fn broken_off(target: &Target) -> Response<Body> {
    let message = "The sandbox closed the connection before it answered";
    answer(StatusCode::BAD_GATEWAY, about(target, message))
}

pub(crate) fn traffic_token(target: &Target, header: &str, fault: &str) -> Response<Body> {
    let message = format!("Sandbox is secured with traffic access token. Token header '{header}' is {fault}");
    answer(StatusCode::FORBIDDEN, about(target, &message))
}

pub(crate) fn too_many_connections(target: &Target, limit: usize) -> Response<Body> {
    let mut body = about(target, &format!("Too many connections to the sandbox (limit: {limit})"));
    body["connectionLimit"] = limit.into();
    answer(StatusCode::TOO_MANY_REQUESTS, body)
}

pub(crate) fn dial_failed(target: &Target, error: &DialError) -> Response<Body> {
    match error {
        DialError::NotFound => not_found(target),
        DialError::PortClosed => {
            let mut body = about(target, "The sandbox is running but port is not open");
            body["port"] = target.port.into();
            answer(StatusCode::BAD_GATEWAY, body)
        }
        DialError::Transitioning => {
            let message = "The sandbox is still transitioning. Try again in a moment.";
            answer(StatusCode::CONFLICT, about(target, message))
        }
        DialError::LimitReached { limit } => {
            let message = format!(
                "The sandbox is paused and cannot be resumed: you have reached the maximum number of concurrent \
                 sandboxes ({limit})"
            );
            answer(StatusCode::TOO_MANY_REQUESTS, about(target, &message))
        }
        DialError::Unavailable(cause) => {
            tracing::warn!(sandbox_id = %target.id, error = %cause, "cannot connect into a sandbox");
            let message = "The sandbox cannot be reached right now. Try again in a moment.";
            answer(StatusCode::SERVICE_UNAVAILABLE, about(target, message))
        }
    }
}
