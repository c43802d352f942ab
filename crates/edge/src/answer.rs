//! What the edge itself answers: JSON that the clients distinguish by status and by the words in `message`, a page for
//! people who opened an address in a browser.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::{ACCEPT, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sandscope_lives::DialError;
use serde_json::{Value, json};

use crate::Target;
use crate::page;

/// An answer in the edge's own words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    status: StatusCode,
    body: Value,
}

/// In which form it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Page,
}

impl Form {
    /// A page for a browser that navigates; its scripts, which ask for anything, get what every program gets.
    pub(crate) fn wanted(headers: &HeaderMap) -> Self {
        let says = |name: HeaderName, what: &str| {
            headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(what))
        };
        if says(USER_AGENT, "Mozilla/") && says(ACCEPT, "text/html") { Self::Page } else { Self::Json }
    }
}

impl Answer {
    fn new(status: StatusCode, mut body: Value) -> Self {
        body["code"] = status.as_u16().into();
        Self { status, body }
    }

    fn about(status: StatusCode, target: &Target, message: &str) -> Self {
        Self::new(status, json!({ "sandboxId": target.id, "message": message }))
    }

    pub(crate) fn reserved(path: &str) -> Self {
        let message = "This endpoint is reserved for the E2B control plane and is not reachable through the \
                       sandbox URL";
        Self::new(StatusCode::NOT_FOUND, json!({ "message": message, "path": path }))
    }

    pub(crate) fn no_tunnels(target: &Target) -> Self {
        Self::about(StatusCode::METHOD_NOT_ALLOWED, target, "CONNECT is not possible; use an upgrade")
    }

    pub(crate) fn not_found(target: &Target) -> Self {
        Self::about(StatusCode::BAD_GATEWAY, target, "The sandbox was not found")
    }

    /// A token that opens no sandbox that lives: to its client the sandbox is gone.
    pub(crate) fn nobodys_token() -> Self {
        Self::new(StatusCode::BAD_GATEWAY, json!({ "message": "The sandbox was not found" }))
    }

    pub(crate) fn broken_off(target: &Target) -> Self {
        let message = "The sandbox closed the connection before it answered";
        Self::about(StatusCode::BAD_GATEWAY, target, message)
    }

    pub(crate) fn foreign_coding(target: &Target) -> Self {
        let message = "The sandbox answered in a transfer coding other than chunked";
        Self::about(StatusCode::BAD_GATEWAY, target, message)
    }

    /// The body broke off or was not what its head said, by the client's doing.
    pub(crate) fn broken_request() -> Self {
        Self::malformed("The request's body cannot be read: it is malformed or broke off")
    }

    pub(crate) fn traffic_token(target: &Target, header: &str, fault: &str) -> Self {
        let message =
            format!("Sandbox is secured with traffic access token. Token header '{header}' is {fault}");
        Self::about(StatusCode::FORBIDDEN, target, &message)
    }

    pub(crate) fn may_not_resume(target: &Target, header: &str) -> Self {
        let message = format!(
            "This sandbox can't be resumed with the credentials provided. It is paused, and traffic resumes it only \
             with the right token in the header '{header}'"
        );
        Self::about(StatusCode::FORBIDDEN, target, &message)
    }

    pub(crate) fn too_many_connections(target: &Target, limit: usize) -> Self {
        let message = format!("Too many connections to the sandbox (limit: {limit})");
        let mut answer = Self::about(StatusCode::TOO_MANY_REQUESTS, target, &message);
        answer.body["connectionLimit"] = limit.into();
        answer
    }

    pub(crate) fn dial_failed(target: &Target, error: &DialError, header: &str) -> Self {
        match error {
            DialError::NotFound => Self::not_found(target),
            DialError::MayNotWake => Self::may_not_resume(target, header),
            DialError::PortClosed => {
                let message = "The sandbox is running but port is not open";
                let mut answer = Self::about(StatusCode::BAD_GATEWAY, target, message);
                answer.body["port"] = target.port.into();
                answer
            }
            DialError::Transitioning => {
                let message = "The sandbox is still transitioning. Try again in a moment.";
                Self::about(StatusCode::CONFLICT, target, message)
            }
            DialError::LimitReached { limit } => {
                let message = format!(
                    "The sandbox is paused and cannot be resumed: you have reached the maximum number of concurrent \
                     sandboxes ({limit})"
                );
                Self::about(StatusCode::TOO_MANY_REQUESTS, target, &message)
            }
            DialError::Unavailable(cause) => {
                tracing::warn!(sandbox_id = %target.id, error = %cause, "cannot connect into a sandbox");
                let message = "The sandbox cannot be reached right now. Try again in a moment.";
                Self::about(StatusCode::SERVICE_UNAVAILABLE, target, message)
            }
        }
    }

    /// Refuses a signed file URL, in the agent's words.
    pub(crate) fn bad_signature(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, json!({ "message": message }))
    }

    pub(crate) fn wrong_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, json!({ "message": "method not allowed" }))
    }

    pub(crate) fn malformed(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, json!({ "message": message }))
    }

    pub(crate) fn busy() -> Self {
        let message = "Too many signed addresses are being looked up. Try again in a moment.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, json!({ "message": message }))
    }

    pub(crate) fn render(&self, form: Form) -> Response<Body> {
        let (content_type, body) = match form {
            Form::Json => ("application/json", self.body.to_string()),
            Form::Page => ("text/html; charset=utf-8", page::render(self.status, &self.body)),
        };
        let mut response = (self.status, [(CONTENT_TYPE, content_type)], body).into_response();
        let headers = response.headers_mut();
        // What is true of a sandbox now need not be in a moment.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // A page of whatever origin may read why it was refused; nothing secret is in it.
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        if form == Form::Page {
            headers.insert("content-security-policy", HeaderValue::from_static(page::POLICY));
            headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_browser_that_navigates_gets_a_page() {
        let of = |agent: &str, accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(USER_AGENT, agent.parse().unwrap());
            headers.insert(ACCEPT, accept.parse().unwrap());
            Form::wanted(&headers)
        };
        let browser = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        assert_eq!(of(browser, "text/html,application/xhtml+xml,*/*;q=0.8"), Form::Page);
        assert_eq!(of(browser, "*/*"), Form::Json);
        assert_eq!(of("e2b-js-sdk/2.51.0", "*/*"), Form::Json);
        assert_eq!(of("curl/8", "text/html"), Form::Json);
        assert_eq!(Form::wanted(&HeaderMap::new()), Form::Json);
    }
}
