//! Which sandbox and port a request is for.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::HOST;
use http::request::Parts;
use sandscope_model::SandboxId;

const ID_HEADER: &str = "e2b-sandbox-id";
const PORT_HEADER: &str = "e2b-sandbox-port";

/// A port of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which sandbox.
    pub id: SandboxId,
    /// Which port of its loopback.
    pub port: u16,
}

/// The request is for a sandbox but does not say which in a way that can be understood. Answers 400 with the texts of
/// the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// One of the two headers is there, the other is not.
    #[error("missing header")]
    MissingHeader,
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

/// Reads the target from the host name `<port>-<id>.<domain>`, else from the headers; `None` if there is neither.
pub(crate) fn target(domain: &str, parts: &Parts) -> Result<Option<Target>, Refusal> {
    let named = parts.headers.get(HOST).and_then(|value| value.to_str().ok());
    let host = parts.uri.host().or(named).unwrap_or_default();
    if let Some(label) = sandbox_label(host, domain) {
        return from_label(label).map(Some);
    }
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (header(ID_HEADER), header(PORT_HEADER)) {
        (None, None) => Ok(None),
        (Some(id), Some(port)) => parse(id, port).map(Some),
        (Some(_), None) | (None, Some(_)) => Err(Refusal::MissingHeader),
    }
}

/// The left-most label of `host`, if the rest is our domain and the label starts like a port.
fn sandbox_label<'h>(host: &'h str, domain: &str) -> Option<&'h str> {
    let (label, rest) = host.split_once('.')?;
    let rest = rest.split(':').next().unwrap_or_default();
    let domain = domain.split(':').next().unwrap_or_default();
    let is_ours = rest.eq_ignore_ascii_case(domain);
    let is_sandbox = label.split_once('-').is_some_and(|(port, _)| port.bytes().all(|b| b.is_ascii_digit()));
    (is_ours && is_sandbox).then_some(label)
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
mod tests {
    use http::Request;

    use super::*;

    const ID: &str = "i0123456789abcdefghij";

    fn of(host: &str, headers: &[(&str, &str)]) -> Result<Option<(String, u16)>, Refusal> {
        let mut request = Request::builder().uri("/health").header(HOST, host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        target("sandboxes.example", &parts).map(|found| found.map(|t| (t.id.to_string(), t.port)))
    }

    #[test]
    fn without_host_name_or_headers_it_is_the_control_plane() {
        assert_eq!(of("127.0.0.1:3000", &[]), Ok(None));
        assert_eq!(of("api.sandboxes.example", &[]), Ok(None));
        assert_eq!(of(&format!("3000-{ID}.elsewhere.example"), &[]), Ok(None));
        assert_eq!(of("", &[]), Ok(None));
    }

    #[test]
    fn headers_name_sandbox_and_port() {
        let port = ("e2b-sandbox-port", "49983");
        let found = Ok(Some((ID.to_owned(), 49983)));
        assert_eq!(of("127.0.0.1:3000", &[("e2b-sandbox-id", ID), port]), found);
        assert_eq!(of("sandbox.sandboxes.example", &[("e2b-sandbox-id", ID), port]), found);
        assert_eq!(of("h", &[("e2b-sandbox-id", ID)]), Err(Refusal::MissingHeader));
        assert_eq!(of("h", &[port]), Err(Refusal::MissingHeader));
        assert_eq!(of("h", &[("e2b-sandbox-id", "../../etc"), port]), Err(Refusal::InvalidId));
        for bad in ["0", "65536", "-1", "+80", "", "80x"] {
            let headers = [("e2b-sandbox-id", ID), ("e2b-sandbox-port", bad)];
            assert_eq!(of("h", &headers), Err(Refusal::InvalidPort), "{bad}");
        }
    }

    #[test]
    fn the_host_name_wins_and_may_carry_the_old_client_id() {
        let found = Ok(Some((ID.to_owned(), 8080)));
        assert_eq!(of(&format!("8080-{ID}.sandboxes.example:3000"), &[]), found);
        assert_eq!(of(&format!("8080-{ID}-6532622b.SANDBOXES.example"), &[]), found);
        let headers = [("e2b-sandbox-id", ID), ("e2b-sandbox-port", "1")];
        assert_eq!(of(&format!("8080-{ID}.sandboxes.example"), &headers), found);
        assert_eq!(of("8080-nobody.sandboxes.example", &[]), Err(Refusal::InvalidId));
        assert_eq!(of(&format!("99999-{ID}.sandboxes.example"), &[]), Err(Refusal::InvalidPort));
    }
}
