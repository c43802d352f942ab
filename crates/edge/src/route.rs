//! What a request is for: a port of a sandbox, a file that a signature names, or the control plane.
//!
//! ```text
//! host `<port>-<id>.<domain>` ────────────────► that port of that sandbox
//! headers E2b-Sandbox-Id and E2b-Sandbox-Port ► the same, under every other name: localhost, addresses, sandbox.…
//! /files without either ──────────────────────► the sandbox with whose token the URL was signed
//! a browser's question whether it may ask ────► answered here, as it carries none of the above
//! anything else ──────────────────────────────► the control plane, which has no /files of its own
//! ```

use axum::response::{IntoResponse, Response};
use http::header::{ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HOST};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use sandscope_model::SandboxId;

const ID_HEADER: &str = "e2b-sandbox-id";
const PORT_HEADER: &str = "e2b-sandbox-port";

/// Where the agent takes and gives files; the control plane has no such path.
pub(crate) const FILES_PATH: &str = "/files";

/// A port of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which sandbox.
    pub id: SandboxId,
    /// Which port of its loopback.
    pub port: u16,
}

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// The control plane.
    Control,
    /// A port of a sandbox.
    Sandbox(Target),
    /// The sandbox whose access token makes the URL's signature right.
    SignedFile,
    /// A browser asks whether a page may send what leads into a sandbox.
    Preflight,
}

/// The request is for a sandbox but does not say which in a way that can be understood. Answers 400 with the texts of
/// the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// One of the two headers is there, the other is not.
    #[error("missing header")]
    MissingHeader,
    /// It names more than one host, or none in a form that can be understood.
    #[error("Invalid host")]
    InvalidHost,
    /// The sandbox's id is malformed.
    #[error("Invalid sandbox ID")]
    InvalidId,
    /// The port is malformed, or 0.
    #[error("Invalid sandbox port")]
    InvalidPort,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, self.to_string()).into_response()
    }
}

/// Reads what the request is for; see the head of this file.
pub(crate) fn destination(domain: &str, parts: &Parts) -> Result<Destination, Refusal> {
    if let Some(label) = sandbox_label(host(parts)?, domain) {
        return from_label(label).map(Destination::Sandbox);
    }
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (header(ID_HEADER), header(PORT_HEADER)) {
        (Some(id), Some(port)) => parse(id, port).map(Destination::Sandbox),
        (Some(_), None) | (None, Some(_)) => Err(Refusal::MissingHeader),
        (None, None) => Ok(unnamed(parts)),
    }
}

/// The host the request names, without its port; empty where it names none, as old clients may.
fn host(parts: &Parts) -> Result<&str, Refusal> {
    if let Some(host) = parts.uri.host() {
        return Ok(host);
    }
    let mut values = parts.headers.get_all(HOST).iter();
    let Some(value) = values.next() else { return Ok("") };
    // Two hosts: a proxy in front of us may have looked at the other.
    if values.next().is_some() {
        return Err(Refusal::InvalidHost);
    }
    let value = value.to_str().map_err(|_| Refusal::InvalidHost)?;
    if value.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '@' | '?' | '#')) {
        return Err(Refusal::InvalidHost);
    }
    Ok(if value.starts_with('[') { value } else { value.split(':').next().unwrap_or_default() })
}

fn unnamed(parts: &Parts) -> Destination {
    if parts.method == Method::OPTIONS && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        let for_sandbox = parts.uri.path() == FILES_PATH || asks_for_routing(&parts.headers);
        return if for_sandbox { Destination::Preflight } else { Destination::Control };
    }
    if parts.uri.path() == FILES_PATH { Destination::SignedFile } else { Destination::Control }
}

/// Whether a browser announces the headers that lead into a sandbox.
fn asks_for_routing(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let mut names = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    names.any(|name| name.trim().eq_ignore_ascii_case(ID_HEADER))
}

/// The left-most label of `host`, if it names a port of a sandbox. Under our own domain it is enough that it starts
/// like a port, so that a mistyped id is said to be one; elsewhere (the client knows us under another domain than we
/// do) it must be whole.
fn sandbox_label<'h>(host: &'h str, domain: &str) -> Option<&'h str> {
    let (label, rest) = host.split_once('.')?;
    let (port, _) = label.split_once('-')?;
    let is_ours = rest.trim_end_matches('.').eq_ignore_ascii_case(domain);
    let like_port = port.bytes().all(|byte| byte.is_ascii_digit());
    (like_port && (is_ours || from_label(label).is_ok())).then_some(label)
}

/// `<port>-<id>`; whatever follows a further dash is the original's client id and ignored.
fn from_label(label: &str) -> Result<Target, Refusal> {
    let (port, id) = label.split_once('-').ok_or(Refusal::InvalidId)?;
    let id = id.split('-').next().unwrap_or_default();
    parse(&id.to_ascii_lowercase(), port)
}

fn parse(id: &str, port: &str) -> Result<Target, Refusal> {
    let id = id.parse().map_err(|_| Refusal::InvalidId)?;
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(port) if digits && port != 0 => Ok(Target { id, port }),
        _ => Err(Refusal::InvalidPort),
    }
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;
