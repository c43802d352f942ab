//! The agent's side of the conversation: one connection, bounded answers.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use sandscope_agent_protocol::AGENT_PORT;
use sandscope_agent_protocol::logs::{Lines, MAX_LINES, PATH};
use sandscope_agent_protocol::rest::ACCESS_TOKEN_HEADER;
use sandscope_model::{SandboxId, Secret};
use sandscope_runtime::{ConnectError, Runtime};
use tokio::task::JoinHandle;

/// How long the agent is asked to wait for a line, in seconds.
const WAIT_SECONDS: u64 = 30;

/// How long an answer may take beyond that. A sandbox that is paused meanwhile exceeds it.
const PATIENCE: Duration = Duration::from_secs(15);

/// Largest answer taken, in bytes: [`sandscope_agent_protocol::logs::MAX_TEXT_BYTES`] at its longest in JSON.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Why there are no lines.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("cannot connect to the agent: {0}")]
    Connect(#[from] ConnectError),
    #[error("the connection to the agent broke: {0}")]
    Broken(#[from] hyper::Error),
    #[error("the agent did not answer in time")]
    TooLate,
    #[error("the agent answered {0}")]
    Refused(StatusCode),
    #[error("the agent's answer is too large or broke off")]
    Body,
    #[error("the agent's answer makes no sense")]
    Nonsense,
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
}

/// A connection to a sandbox's agent. Ends when dropped.
pub(crate) struct AgentLog {
    requests: SendRequest<Empty<Bytes>>,
    driver: JoinHandle<Result<(), hyper::Error>>,
}

impl AgentLog {
    pub(crate) async fn connect(runtime: &dyn Runtime, id: &SandboxId) -> Result<Self, FetchError> {
        let stream = runtime.connect(id, AGENT_PORT).await?;
        let (requests, driver) = http1::handshake(TokioIo::new(stream)).await?;
        // Of its own, since a paused sandbox never closes its end; aborted with this.
        Ok(Self { requests, driver: tokio::spawn(driver) })
    }

    /// The lines after `after`. Waits for some, and may come back without any.
    pub(crate) async fn read(&mut self, after: u64, token: Option<&Secret>) -> Result<Lines, FetchError> {
        let mut request = Request::get(format!("{PATH}?after={after}&wait={WAIT_SECONDS}"))
            .header(header::HOST, "localhost");
        if let Some(token) = token {
            request = request.header(ACCESS_TOKEN_HEADER, token.expose());
        }
        let request = request.body(Empty::new())?;
        let deadline = Duration::from_secs(WAIT_SECONDS) + PATIENCE;
        let lines = tokio::time::timeout(deadline, self.exchange(request))
            .await
            .map_err(|_| FetchError::TooLate)??;
        if makes_sense(&lines, after) { Ok(lines) } else { Err(FetchError::Nonsense) }
    }

    async fn exchange(&mut self, request: Request<Empty<Bytes>>) -> Result<Lines, FetchError> {
        self.requests.ready().await?;
        let response = self.requests.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Refused(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let bytes = body.map_err(|_| FetchError::Body)?.to_bytes();
        serde_json::from_slice(&bytes).map_err(|_| FetchError::Nonsense)
    }
}

impl Drop for AgentLog {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Numbers grow, from what was asked for to what is promised.
fn makes_sense(lines: &Lines, after: u64) -> bool {
    let mut before = after;
    let in_order = lines.lines.iter().all(|line| {
        let follows = line.seq > before && line.seq <= lines.upto;
        before = line.seq;
        follows
    });
    in_order && lines.lines.len() <= MAX_LINES && lines.upto >= after
}
