//! Query parameters that no endpoint reads.
//!
//! A misspelt filter that is passed over answers everything, as if it had been asked for. So what is sent is held against
//! what the endpoint documents: endpoints of our own refuse the rest; endpoints of the original answer as it does, and a
//! header names what had no effect.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{Extensions, HeaderName, HeaderValue, Method, Uri};
use percent_encoding::percent_decode_str;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{OpenApi, RefOr};

use crate::paths;

/// Names the parameters that had no effect, joined by commas.
const IGNORED: HeaderName = HeaderName::from_static("x-ignored-parameters");

/// Names that are repeated, at most, and how much of each.
const MAX_NAMES: usize = 10;
const MAX_NAME: usize = 64;

/// The names each documented operation reads, by path.
#[derive(Debug, Default)]
pub(crate) struct Parameters(HashMap<String, Vec<(Method, Vec<String>)>>);

impl Parameters {
    /// Those that `document` describes.
    pub(crate) fn of(document: OpenApi) -> Self {
        let paths = document.paths.paths.into_iter().map(|(path, item)| {
            let operations = [
                (Method::GET, item.get),
                (Method::POST, item.post),
                (Method::PUT, item.put),
                (Method::PATCH, item.patch),
                (Method::DELETE, item.delete),
            ];
            let known = operations.into_iter().filter_map(|(method, one)| Some((method, names(one?))));
            (path, known.collect())
        });
        Self(paths.collect())
    }

    /// The names in the request's query that its operation does not read, and those that it does.
    fn unknown(
        &self,
        method: &Method,
        uri: &Uri,
        extensions: &Extensions,
    ) -> Option<(Vec<String>, &[String])> {
        let query = uri.query().filter(|query| !query.is_empty())?;
        let path = extensions.get::<MatchedPath>()?.as_str();
        let (_, known) = self.0.get(path)?.iter().find(|(one, _)| one == method)?;
        let mut unknown: Vec<String> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let name = pair.split_once('=').map_or(pair, |(name, _)| name);
            let name = percent_decode_str(name).decode_utf8_lossy();
            let name = name.strip_suffix("[]").unwrap_or(&name);
            let is_new = unknown.len() < MAX_NAMES && !unknown.iter().any(|seen| seen == name);
            if is_new && !known.iter().any(|known| known == name) {
                unknown.push(name.chars().take(MAX_NAME).collect());
            }
        }
        (!unknown.is_empty()).then_some((unknown, known))
    }

    /// Why the request is refused, if it is: an endpoint of our own does not read a parameter.
    pub(crate) fn refusal(&self, method: &Method, uri: &Uri, extensions: &Extensions) -> Option<String> {
        let path = extensions.get::<MatchedPath>()?;
        if !paths::OWN.contains(&path.as_str()) {
            return None;
        }
        let (unknown, known) = self.unknown(method, uri, extensions)?;
        let there = if known.is_empty() {
            "it takes none".to_owned()
        } else {
            format!("there are: {}", known.join(", "))
        };
        let name = unknown.first()?.escape_debug();
        Some(format!("there is no query parameter '{name}' here; {there}"))
    }
}

fn names(operation: Operation) -> Vec<String> {
    let parameters = operation.parameters.unwrap_or_default().into_iter();
    parameters
        .filter_map(|one| match one {
            RefOr::T(one) => (one.parameter_in == ParameterIn::Query).then_some(one.name),
            RefOr::Ref(_) => None,
        })
        .collect()
}

/// Names on the answer what an endpoint did not read.
pub(crate) async fn name_ignored(
    State(parameters): State<Arc<Parameters>>,
    request: Request,
    next: Next,
) -> Response {
    let unknown = parameters.unknown(request.method(), request.uri(), request.extensions());
    let names = unknown.map(|(names, _)| names.iter().map(|name| printable(name)).collect::<Vec<_>>());
    let mut response = next.run(request).await;
    if let Some(value) = names.and_then(|names| HeaderValue::try_from(names.join(",")).ok()) {
        response.headers_mut().insert(IGNORED, value);
    }
    response
}

/// A name as it may stand in a list inside a header.
fn printable(name: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "_.-[]".contains(char);
    name.chars().map(|char| if is_plain(char) { char } else { '?' }).collect()
}
