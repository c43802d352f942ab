//! `POST /sandboxes/{id}/connect` and `POST /v2/sandboxes/{id}/connect`: sees to it that a sandbox runs.

use std::time::Duration;

use crate::json::Json;
use axum::extract::State;
use http::StatusCode;
use sandscope_model::SandboxId;
use sandscope_wire::request::{ConnectSandbox, ConnectSandboxV2};
use sandscope_wire::sandbox::Sandbox;

use crate::auth::Caller;
use crate::body::{JsonBody, OptionalJson};
use crate::error::{ApiError, denied_in_state, of_request};
use crate::segments::SandboxPath;
use crate::{App, paths};

const DEFAULT_TIMEOUT_S: i64 = 300;
const TIMEOUT_NEGATIVE: &str = "Timeout must not be negative";
const TIMEOUT_NOT_POSITIVE: &str = "Timeout must be greater than 0";

/// Resumes a paused sandbox, or extends a running one's time (never shortens it).
#[utoipa::path(
    post,
    path = paths::SANDBOX_CONNECT,
    tag = "sandboxes",
    params(("sandboxID" = String, Path)),
    request_body = ConnectSandbox,
    responses(
        (status = 200, description = "It ran already", body = Sandbox),
        (status = 201, description = "It was resumed", body = Sandbox),
    )
)]
pub(crate) async fn connect_sandbox(
    State(app): State<App>,
    caller: Caller,
    SandboxPath(id): SandboxPath,
    JsonBody(request): JsonBody<ConnectSandbox>,
) -> Result<(StatusCode, Json<Sandbox>), ApiError> {
    let timeout_s = u64::try_from(request.timeout).map_err(|_| ApiError::bad_request(TIMEOUT_NEGATIVE))?;
    connect(&app, &caller, &id, Term::For(timeout_s)).await
}

/// Resumes a paused sandbox, or extends a running one's time (never shortens it).
#[utoipa::path(
    post,
    path = paths::SANDBOX_CONNECT_V2,
    tag = "sandboxes",
    params(("sandboxID" = String, Path)),
    request_body = Option<ConnectSandboxV2>,
    responses(
        (status = 200, description = "It ran already", body = Sandbox),
        (status = 201, description = "It was resumed", body = Sandbox),
    )
)]
pub(crate) async fn connect_sandbox_v2(
    State(app): State<App>,
    caller: Caller,
    SandboxPath(id): SandboxPath,
    OptionalJson(request): OptionalJson<ConnectSandboxV2>,
) -> Result<(StatusCode, Json<Sandbox>), ApiError> {
    let timeout_s = u64::try_from(request.timeout.unwrap_or(DEFAULT_TIMEOUT_S)).ok().filter(|s| *s > 0);
    let timeout_s = timeout_s.ok_or_else(|| ApiError::bad_request(TIMEOUT_NOT_POSITIVE))?;
    let keeps = request.timeout.is_none() && request.keep_timeout == Some(true);
    connect(
        &app,
        &caller,
        &id,
        if keeps { Term::Left { otherwise_s: timeout_s } } else { Term::For(timeout_s) },
    )
    .await
}

/// For how long the sandbox is to run.
enum Term {
    /// So many seconds from now.
    For(u64),
    /// What it had left.
    Left { otherwise_s: u64 },
}

async fn connect(
    app: &App,
    caller: &Caller,
    id: &SandboxId,
    term: Term,
) -> Result<(StatusCode, Json<Sandbox>), ApiError> {
    let (lives, team) = (caller.lives(app), &caller.team);
    let connected = match term {
        Term::For(timeout_s) => lives.connect(team, id, Duration::from_secs(timeout_s)).await,
        Term::Left { otherwise_s } => lives.carry_on(team, id, Duration::from_secs(otherwise_s)).await,
    };
    let connected = connected.map_err(|error| of_request(id, error, denied_in_state(id, "connected to")))?;
    let status = if connected.resumed { StatusCode::CREATED } else { StatusCode::OK };
    let answer = Sandbox::new(&connected.sandbox, app.lives.envd_version(), app.domain.as_deref());
    Ok((status, Json(answer)))
}
