use std::fmt;
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use http::{StatusCode, header, request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use sandscope_agent_protocol::AGENT_PORT;
use sandscope_engine::{Connection, Dial, DialFailure};
use sandscope_model::SandboxId;

/// Largest answer read, in bytes: [`sandscope_agent_protocol::logs::MAX_TEXT_BYTES`] at its longest in JSON.
pub(crate) const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Why the agent gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The agent's port could not be reached.
    #[error("cannot connect to the agent")]
    Connect(#[from] DialFailure),
    /// The connection ended before the answer did.
    #[error("the connection to the agent broke")]
    Broken(#[from] hyper::Error),
    /// The agent took too long.
    #[error("the agent did not answer in time")]
    TooLate,
    /// The agent answered with an error.
    #[error("the agent answered {0}")]
    Refused(StatusCode),
    /// The answer is larger than is read, or the connection broke within it.
    #[error("the agent's answer is too large or broke off")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer contradicts the protocol: what it says, in words.
    #[error("the agent's answer makes no sense: {0}")]
    Nonsense(&'static str),
    /// The answer is no JSON of the protocol's.
    #[error("the agent's answer cannot be read")]
    Unreadable(#[from] serde_json::Error),
    /// The request contains what HTTP cannot carry.
    #[error("the request to the agent cannot be made")]
    Request(#[from] http::Error),
}

type Driver = http1::Connection<TokioIo<Connection>, Full<Bytes>>;

/// A connection to a sandbox's agent. Ends when dropped.
pub struct AgentLink {
    requests: SendRequest<Full<Bytes>>,
    /// `None` once the connection is over.
    driver: Option<Pin<Box<Driver>>>,
}

impl AgentLink {
    /// Connects to a running sandbox's agent.
    ///
    /// # Errors
    /// [`LinkError::Connect`] or [`LinkError::Broken`].
    pub async fn connect(door: &dyn Dial, id: &SandboxId) -> Result<Self, LinkError> {
        Self::over(door.dial(id, AGENT_PORT).await?).await
    }

    /// Takes a connection to an agent's port.
    ///
    /// # Errors
    /// [`LinkError::Broken`].
    pub async fn over(connection: Connection) -> Result<Self, LinkError> {
        let (requests, driver) = http1::handshake(TokioIo::new(connection)).await?;
        Ok(Self { requests, driver: Some(Box::pin(driver)) })
    }

    /// Sends a request and reads its answer, which has to have the status `wanted`. Waits as long as the agent does.
    pub(crate) async fn exchange(
        &mut self,
        request: request::Builder,
        body: Bytes,
        wanted: StatusCode,
    ) -> Result<Bytes, LinkError> {
        let request = request.header(header::HOST, "localhost").body(Full::new(body))?;
        let requests = &mut self.requests;
        let answer = async {
            requests.ready().await?;
            let response = requests.send_request(request).await?;
            if response.status() != wanted {
                return Err(LinkError::Refused(response.status()));
            }
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
            body.map(|body| body.to_bytes()).map_err(LinkError::Body)
        };
        drive(&mut self.driver, answer).await
    }
}

/// Waits for `answer`, moving the connection it comes over. What goes wrong with that is in the answer.
async fn drive<T>(driver: &mut Option<Pin<Box<Driver>>>, answer: impl Future<Output = T>) -> T {
    let mut answer = pin!(answer);
    std::future::poll_fn(|context| {
        // Twice: the request has to be there before it can be sent, the answer has to have come before it is read.
        if let Poll::Ready(answer) = answer.as_mut().poll(context) {
            return Poll::Ready(answer);
        }
        if let Some(connection) = driver
            && connection.as_mut().poll(context).is_ready()
        {
            *driver = None;
        }
        answer.as_mut().poll(context)
    })
    .await
}

impl fmt::Debug for AgentLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentLink").field("is_over", &self.driver.is_none()).finish()
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
