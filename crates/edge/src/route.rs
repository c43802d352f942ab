//! What a request is for: a port of a sandbox, a file that a signature names, or the control plane.
//!
//! ```text
//! host `<port>-<id>.<domain>` ────────────────► that port of that sandbox
//! host `api.<domain>` ────────────────────────► the control plane, whatever the headers say
//! headers E2b-Sandbox-Id and E2b-Sandbox-Port ► the same, under every other name: localhost, addresses, sandbox.…
//!    but the agent's port and a path of the control plane: the control plane
//! X-Access-Token without either, and no path
//!    of the control plane ────────────────────► the agent of the sandbox whose token it is
//! /files without any of them ─────────────────► the sandbox with whose token the URL was signed
//! a browser's question whether it may ask ────► answered here, as it carries none of the above
//! anything else ──────────────────────────────► the control plane, which has no /files of its own
//! ```
//!
//! Years of Python SDKs send the headers, with the agent's port, also when they connect to a sandbox over the control
//! plane. The agent has none of those paths, so no request into a sandbox is lost; on every other port each path is the
//! program's. The same SDKs, given one address for everything, name a sandbox they connected to by nothing but its token.
//!
//! A request that names two hosts is refused: a proxy in front of us, or the program inside, may go by the other.

use axum::response::{IntoResponse, Response};
use http::header::{ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HOST};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method, StatusCode, Uri};
use sandscope_agent_protocol::AGENT_PORT;
use sandscope_agent_protocol::rest::ACCESS_TOKEN_HEADER;
use sandscope_model::SandboxId;

const ID_HEADER: &str = "e2b-sandbox-id";
const PORT_HEADER: &str = "e2b-sandbox-port";

/// The label that the control plane has below the domain.
const CONTROL_LABEL: &str = "api";

/// Where the agent takes and gives files; the control plane has no such path.
pub(crate) const FILES_PATH: &str = "/files";

/// Whether a path is the control plane's and none of the agent's.
pub type IsControlPath = fn(&str) -> bool;

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
    /// The agent of the sandbox whose access token the request carries.
    Token,
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
pub(crate) fn destination(
    domain: &str,
    is_control_path: IsControlPath,
    parts: &Parts,
) -> Result<Destination, Refusal> {
    let host = host(&parts.uri, &parts.headers)?;
    if let Some(label) = sandbox_label(host, domain) {
        return from_label(label).map(Destination::Sandbox);
    }
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let named = match (header(ID_HEADER), header(PORT_HEADER)) {
        _ if is_control_host(host, domain) => return Ok(Destination::Control),
        (None, None) => return Ok(unnamed(is_control_path, parts)),
        (Some(id), Some(port)) => parse(id, port),
        (Some(_), None) | (None, Some(_)) => Err(Refusal::MissingHeader),
    };
    let is_agents = named.as_ref().is_ok_and(|target| target.port == AGENT_PORT);
    if is_agents && is_control_path(parts.uri.path()) {
        return Ok(Destination::Control);
    }
    named.map(Destination::Sandbox)
}

/// The host the request names, without its port; empty where it names none, as old clients may.
pub(crate) fn host<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Result<&'r str, Refusal> {
    let mut values = headers.get_all(HOST).iter();
    let value = values.next().map(|value| value.to_str().map_err(|_| Refusal::InvalidHost)).transpose()?;
    if values.next().is_some() {
        return Err(Refusal::InvalidHost);
    }
    let name = match (uri.authority(), value) {
        (None, None) => return Ok(""),
        (None, Some(value)) => value,
        (Some(authority), None) => authority.as_str(),
        (Some(authority), Some(value)) => {
            if !is_same(authority, value) {
                return Err(Refusal::InvalidHost);
            }
            value
        }
    };
    if name.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '@' | '?' | '#')) {
        return Err(Refusal::InvalidHost);
    }
    Ok(if name.starts_with('[') { name } else { name.split(':').next().unwrap_or_default() })
}

/// Whether both name the same host and port (RFC 9112, section 3.2.2; RFC 9113, section 8.3.1). A port that is left out
/// is the scheme's, and which of the two schemes the client speaks need not be the one that a proxy speaks to us.
fn is_same(authority: &Authority, value: &str) -> bool {
    let name = authority.as_str();
    let is_same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    let (short, long) = if name.len() <= value.len() { (name, value) } else { (value, name) };
    is_same(short, long)
        || long
            .split_at_checked(short.len())
            .is_some_and(|(host, port)| is_same(short, host) && matches!(port, ":80" | ":443"))
}

fn is_control_host(host: &str, domain: &str) -> bool {
    host.split_once('.')
        .is_some_and(|(label, rest)| label.eq_ignore_ascii_case(CONTROL_LABEL) && is_domain(rest, domain))
}

fn is_domain(name: &str, domain: &str) -> bool {
    name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case(domain)
}

fn unnamed(is_control_path: IsControlPath, parts: &Parts) -> Destination {
    if parts.headers.contains_key(ACCESS_TOKEN_HEADER) && !is_control_path(parts.uri.path()) {
        return Destination::Token;
    }
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
    let is_ours = is_domain(rest, domain);
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
