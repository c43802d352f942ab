use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sandscope_outbound::read_answer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::types::{ListedSandbox, Metric, NewSandbox, Sandbox, SandboxDetail, Snapshot};
use crate::{ClientError, Reply, Transport};

/// How long a request may take where nothing else is said: what the official clients wait.
pub(crate) const DEFAULT_DEADLINE: Duration = Duration::from_secs(60);

/// Largest refusal read, in bytes.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

/// Where the server is and who is asking.
#[derive(Clone)]
pub struct ClientOptions {
    /// Control plane, for example `http://127.0.0.1:3000`.
    pub api_url: String,
    /// Data plane; the control plane's address where absent (one port serves both).
    pub sandbox_url: Option<String>,
    /// `e2b_…`.
    pub api_key: String,
}

/// The public API, as one team sees it. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    pub(crate) control: Transport,
    pub(crate) edge: Transport,
    api_key: HeaderValue,
}

impl Client {
    /// A client; connects at the first request.
    ///
    /// # Errors
    /// [`ClientError::Url`] if the base URL cannot be used, [`ClientError::Certificates`] if there are no trusted
    /// certificates.
    pub fn new(options: &ClientOptions) -> Result<Self, ClientError> {
        Self::trusting(options, None)
    }

    /// Like [`new`](Self::new), trusting besides the system's authorities those in `ca_file` (PEM).
    ///
    /// # Errors
    /// As [`new`](Self::new); also if `ca_file` cannot be read.
    pub fn trusting(options: &ClientOptions, ca_file: Option<&Path>) -> Result<Self, ClientError> {
        let to = |url: &str| Transport::trusting(url, ca_file);
        let control = to(&options.api_url)?;
        let edge = options.sandbox_url.as_deref().map(to).transpose()?;
        let mut api_key = HeaderValue::from_str(&options.api_key).map_err(|_| {
            ClientError::Malformed("the API key has characters no header can carry".to_owned())
        })?;
        api_key.set_sensitive(true);
        Ok(Self { edge: edge.unwrap_or_else(|| control.clone()), control, api_key })
    }

    /// Asks the control plane; an answer that is not 2xx is an error.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Reply, ClientError> {
        let bytes = match body {
            Some(body) => serde_json::to_vec(body).map_err(ClientError::Json)?,
            None => Vec::new(),
        };
        let mut request = self.request(method, path);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let reply = self.control.send(request.body(Full::new(Bytes::from(bytes)))?, DEFAULT_DEADLINE).await?;
        if reply.status.is_success() { Ok(reply) } else { Err(refusal(&reply)) }
    }

    /// A request that says who is asking.
    pub(crate) fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("x-api-key", &self.api_key)
            .header(header::USER_AGENT, concat!("sandscope/", env!("CARGO_PKG_VERSION")))
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        decode(&self.ask(Method::GET, path, None).await?)
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_value(body).map_err(ClientError::Json)?;
        decode(&self.ask(Method::POST, path, Some(&body)).await?)
    }

    pub(crate) async fn post_for_nothing(&self, path: &str, body: &Value) -> Result<(), ClientError> {
        self.ask(Method::POST, path, Some(body)).await.map(|_| ())
    }

    /// Whether the server serves.
    ///
    /// # Errors
    /// [`ClientError`] if the server does not answer or is not ready.
    pub async fn health(&self) -> Result<(), ClientError> {
        self.ask(Method::GET, "/health", None).await.map(|_| ())
    }

    /// Makes a sandbox.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn create_sandbox(&self, sandbox: &NewSandbox) -> Result<Sandbox, ClientError> {
        self.post("/v2/sandboxes", sandbox).await
    }

    /// Every sandbox, running and paused, newest first; follows pages up to `limit`.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn sandboxes(&self, state: &str, limit: usize) -> Result<Vec<ListedSandbox>, ClientError> {
        let mut all: Vec<ListedSandbox> = Vec::new();
        let mut next: Option<String> = None;
        while all.len() < limit {
            let mut path =
                format!("/v2/sandboxes?state={}&limit={}", segment(state), (limit - all.len()).min(100));
            if let Some(token) = &next {
                path = format!("{path}&nextToken={}", segment(token));
            }
            let reply = self.ask(Method::GET, &path, None).await?;
            all.append(&mut decode(&reply)?);
            next = reply.headers.get("x-next-token").and_then(|token| token.to_str().ok()).map(str::to_owned);
            if next.is_none() {
                break;
            }
        }
        Ok(all)
    }

    /// One sandbox.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or there is no such sandbox (404).
    pub async fn sandbox(&self, id: &str) -> Result<SandboxDetail, ClientError> {
        self.get(&format!("/sandboxes/{}", segment(id))).await
    }

    /// What is needed to work inside a sandbox. Neither resumes it nor changes when it times out.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or there is no such sandbox (404).
    pub async fn access(&self, id: &str) -> Result<(Sandbox, String), ClientError> {
        #[derive(serde::Deserialize)]
        struct Access {
            #[serde(flatten)]
            sandbox: Sandbox,
            state: String,
        }
        let Access { sandbox, state } = self.get(&format!("/sandboxes/{}", segment(id))).await?;
        Ok((sandbox, state))
    }

    /// One sandbox, with every key the server sent.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn sandbox_raw(&self, id: &str) -> Result<Value, ClientError> {
        self.get(&format!("/sandboxes/{}", segment(id))).await
    }

    /// Ends a sandbox.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or there is no such sandbox (404).
    pub async fn kill(&self, id: &str) -> Result<(), ClientError> {
        self.ask(Method::DELETE, &format!("/sandboxes/{}", segment(id)), None).await.map(|_| ())
    }

    /// Pauses a sandbox.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails, there is no such sandbox (404) or it is not running (409).
    pub async fn pause(&self, id: &str) -> Result<(), ClientError> {
        self.post_for_nothing(&format!("/sandboxes/{}/pause", segment(id)), &json!({})).await
    }

    /// Resumes a paused sandbox, or extends a running one, for `timeout_s` seconds from now.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn connect(&self, id: &str, timeout_s: u32) -> Result<Sandbox, ClientError> {
        self.post(&format!("/v2/sandboxes/{}/connect", segment(id)), &json!({ "timeout": timeout_s })).await
    }

    /// Resumes a paused sandbox for the time that it had left. A running one's time stays as it is.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn carry_on(&self, id: &str) -> Result<Sandbox, ClientError> {
        self.post(&format!("/v2/sandboxes/{}/connect", segment(id)), &json!({ "keepTimeout": true })).await
    }

    /// Sets when a sandbox times out: `timeout_s` seconds from now.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn set_timeout(&self, id: &str, timeout_s: u32) -> Result<(), ClientError> {
        self.post_for_nothing(
            &format!("/sandboxes/{}/timeout", segment(id)),
            &json!({ "timeout": timeout_s }),
        )
        .await
    }

    /// Captures a sandbox's filesystem.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn snapshot(&self, id: &str, name: Option<&str>) -> Result<Snapshot, ClientError> {
        let body = name.map_or_else(|| json!({}), |name| json!({ "name": name }));
        self.post(&format!("/sandboxes/{}/snapshots", segment(id)), &body).await
    }

    /// Deletes a template or snapshot.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn delete_template(&self, reference: &str) -> Result<(), ClientError> {
        self.ask(Method::DELETE, &format!("/templates/{}", segment(reference)), None).await.map(|_| ())
    }

    /// A sandbox's metrics, oldest first; `start` in seconds since 1970, inclusive.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn metrics(&self, id: &str, start: Option<i64>) -> Result<Vec<Metric>, ClientError> {
        let query = start.map_or_else(String::new, |start| format!("?start={start}"));
        self.get(&format!("/sandboxes/{}/metrics{query}", segment(id))).await
    }
}

/// `text` as one path segment or query value.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

pub(crate) fn decode<T: DeserializeOwned>(reply: &Reply) -> Result<T, ClientError> {
    let malformed =
        |_| ClientError::NotTheApi { status: reply.status.as_u16(), beginning: beginning(&reply.body) };
    // JSON of another shape is another matter: the API's, of another version.
    serde_json::from_slice::<Value>(&reply.body).map_err(malformed)?;
    serde_json::from_slice(&reply.body).map_err(ClientError::Json)
}

/// A refusal whose head has arrived.
pub(crate) async fn read_refusal(response: Response<Incoming>) -> Result<Reply, ClientError> {
    let (head, body) = response.into_parts();
    let body = read_answer(body, MAX_REFUSAL_BYTES).await?;
    Ok(Reply { status: head.status, headers: head.headers, body })
}

/// The server's words for a refusal. An answer without them is not this API's: a wrong address, or a proxy's own error.
pub(crate) fn refusal(reply: &Reply) -> ClientError {
    let parsed: Option<Value> = serde_json::from_slice(&reply.body).ok();
    let status = reply.status.as_u16();
    match parsed.as_ref().and_then(|body| body["message"].as_str()) {
        Some(message) => ClientError::Refused { status, message: message.to_owned() },
        None => ClientError::NotTheApi { status, beginning: beginning(&reply.body) },
    }
}

/// The first characters of an answer, in quotes, without what would steer a terminal.
fn beginning(body: &[u8]) -> String {
    let text: String =
        String::from_utf8_lossy(body).chars().filter(|char| !char.is_control()).take(80).collect();
    if text.is_empty() { "its body is empty".to_owned() } else { format!("it begins with {text:?}") }
}
