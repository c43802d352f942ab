//! Query parameters that no endpoint reads.
//!
//! A misspelt filter that is passed over answers everything, as if it had been asked for. So what is sent is held against
//! what the endpoint documents: endpoints of our own refuse the rest; endpoints of the original answer as it does, and a
//! header names what had no effect.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::{Extensions, HeaderName, HeaderValue, Method, Uri};
use utoipa::openapi::RefOr;
use utoipa::openapi::path::{Operation, ParameterIn};

use crate::error::ApiError;
use crate::paths;
use crate::query::Query;
use crate::segments::echo;

/// Names the parameters that had no effect, joined by commas.
pub(crate) const IGNORED: HeaderName = HeaderName::from_static("x-ignored-parameters");

/// Names that are repeated, at most.
const MAX_NAMES: usize = 10;

/// The names each documented operation reads, by method and path.
static KNOWN: LazyLock<HashMap<(Method, String), Vec<String>>> = LazyLock::new(|| {
    let (_, document) = crate::endpoints::router().split_for_parts();
    let mut known = HashMap::new();
    for (path, item) in document.paths.paths {
        let operations = [
            (Method::GET, item.get),
            (Method::POST, item.post),
            (Method::PUT, item.put),
            (Method::PATCH, item.patch),
            (Method::DELETE, item.delete),
        ];
        for (method, operation) in operations {
            known.extend(operation.map(|operation| ((method, path.clone()), names(operation))));
        }
    }
    known
});

fn names(operation: Operation) -> Vec<String> {
    let parameters = operation.parameters.unwrap_or_default().into_iter();
    parameters
        .filter_map(|one| match one {
            RefOr::T(one) => (one.parameter_in == ParameterIn::Query).then_some(one.name),
            RefOr::Ref(_) => None,
        })
        .collect()
}

/// The names in the request's query that its operation does not read, and those that it does.
fn unknown(method: &Method, uri: &Uri, extensions: &Extensions) -> Option<(Vec<String>, &'static [String])> {
    let query = uri.query().filter(|query| !query.is_empty())?;
    let path = extensions.get::<MatchedPath>()?.as_str();
    let known = KNOWN.get(&(method.clone(), path.to_owned()))?;
    // Where it cannot be read, the endpoint says so.
    let query = Query::parse(query).ok()?;
    let mut unknown: Vec<String> = Vec::new();
    for name in query.names().filter(|name| !known.iter().any(|known| known == name)) {
        if unknown.len() < MAX_NAMES && !unknown.iter().any(|seen| seen == name) {
            unknown.push(name.to_owned());
        }
    }
    (!unknown.is_empty()).then_some((unknown, known.as_slice()))
}

/// Refuses what an endpoint of our own does not read.
pub(crate) fn check(method: &Method, uri: &Uri, extensions: &Extensions) -> Result<(), ApiError> {
    let is_own = extensions.get::<MatchedPath>().is_some_and(|path| paths::OWN.contains(&path.as_str()));
    let Some((unknown, known)) = is_own.then(|| unknown(method, uri, extensions)).flatten() else {
        return Ok(());
    };
    let name = unknown.first().map(|name| echo(name)).unwrap_or_default();
    let there = if known.is_empty() {
        "it takes none".to_owned()
    } else {
        format!("there are: {}", known.join(", "))
    };
    Err(ApiError::bad_request(format!("there is no query parameter '{}' here; {there}", name.escape_debug())))
}

/// Names on the answer what an endpoint of the original did not read.
pub(crate) async fn name_ignored(request: Request, next: Next) -> Response {
    let unknown = unknown(request.method(), request.uri(), request.extensions());
    let mut response = next.run(request).await;
    let names = unknown.map(|(names, _)| names.iter().map(|name| printable(name)).collect::<Vec<_>>());
    if let Some(value) = names.and_then(|names| HeaderValue::try_from(names.join(",")).ok()) {
        response.headers_mut().insert(IGNORED, value);
    }
    response
}

/// A name as it may stand in a list inside a header.
fn printable(name: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "_.-[]".contains(char);
    name.chars().take(64).map(|char| if is_plain(char) { char } else { '?' }).collect()
}
