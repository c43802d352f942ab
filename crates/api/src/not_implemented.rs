//! Operations of the original that this server does not have: refused by name, so that a client's error says what is
//! missing instead of "not found".

use axum::Router;
use axum::extract::MatchedPath;
use axum::routing::{MethodFilter, on};
use http::Method;

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::paths::NOT_IMPLEMENTED;

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

async fn refuse(_: Caller, method: Method, path: MatchedPath) -> ApiError {
    ApiError::not_implemented(&format!("{method} {}", path.as_str()))
}
