//! Operations of the original that this server does not have: refused by name, so that a client's error says what is
//! missing instead of "not found".

use axum::Router;
use axum::extract::{FromRequestParts as _, MatchedPath, Request, State};
use axum::routing::{MethodFilter, on};
use http::Method;
use sandscope_model::State as Life;

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::paths::NOT_IMPLEMENTED;
use crate::segments::{SandboxPath, TemplatePath, echo};

/// Adds a route for each of them.
pub(crate) fn add_routes(router: Router<App>) -> Router<App> {
    NOT_IMPLEMENTED.iter().fold(router, |router, (method, path)| {
        let filter = match *method {
            "GET" => MethodFilter::GET,
            "POST" => MethodFilter::POST,
            "PUT" => MethodFilter::PUT,
            "PATCH" => MethodFilter::PATCH,
            _ => MethodFilter::DELETE,
        };
        router.route(path, on(filter, refuse))
    })
}

/// What does not exist is not found, before anything else: a client learns that its sandbox is gone also from an operation
/// that is missing.
async fn refuse(
    State(app): State<App>,
    caller: Caller,
    method: Method,
    path: MatchedPath,
    request: Request,
) -> Result<(), ApiError> {
    let (mut parts, _) = request.into_parts();
    let path = path.as_str();
    if path.contains("{sandboxID}") {
        let SandboxPath(id) = SandboxPath::from_request_parts(&mut parts, &app).await?;
        let found = app.store.facts.sandbox(&id).await?;
        // Records are also of what has ended.
        let may_be_gone = path.ends_with("/record");
        found
            .filter(|sandbox| sandbox.team_id == caller.team.id)
            .filter(|sandbox| may_be_gone || !matches!(sandbox.state, Life::Killed { .. }))
            .ok_or_else(|| ApiError::no_such_sandbox(id.as_str()))?;
    } else if path.contains("{templateID}") {
        let TemplatePath(reference) = TemplatePath::from_request_parts(&mut parts, &app).await?;
        let found = app.store.facts.resolve_template(caller.team.id, &reference).await?;
        found.ok_or_else(|| ApiError::no_such_template(&echo(&reference)))?;
    }
    Err(ApiError::not_implemented(&format!("{method} {path}")))
}
