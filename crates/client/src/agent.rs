//! Calls of a sandbox's agent, reached through the edge.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Builder;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use sandscope_agent_protocol::AGENT_PORT;
use sandscope_agent_protocol::connect::{ConnectError, UNARY_CONTENT_TYPE};
use sandscope_agent_protocol::rest::ACCESS_TOKEN_HEADER;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::control::{read_refusal, refusal};
use crate::types::Sandbox;
use crate::{Client, ClientError, Reply};

/// How long a call may take where nothing else is said.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(60);

/// The head of a request to the agent of `sandbox`, as `user` where one is given.
pub(crate) fn request(sandbox: &Sandbox, user: Option<&str>, method: Method, path: &str) -> Builder {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("e2b-sandbox-id", &sandbox.sandbox_id)
        .header("e2b-sandbox-port", AGENT_PORT);
    if let Some(token) = &sandbox.envd_access_token {
        request = request.header(ACCESS_TOKEN_HEADER, token);
    }
    if let Some(user) = user {
        request = request.header("authorization", format!("Basic {}", STANDARD.encode(format!("{user}:"))));
    }
    request
}

/// What the agent, or the edge before it, said instead of doing what was asked.
pub(crate) async fn refused(response: Response<Incoming>) -> ClientError {
    match read_refusal(response).await {
        Ok(reply) => of_reply(&reply),
        Err(error) => error,
    }
}

fn of_reply(reply: &Reply) -> ClientError {
    // The agent's own errors have a code in words, the edge's a number.
    match serde_json::from_slice::<ConnectError>(&reply.body) {
        Ok(error) => ClientError::Agent(error),
        Err(_) => refusal(reply),
    }
}

impl Client {
    /// A unary call of the agent.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        sandbox: &Sandbox,
        user: Option<&str>,
        procedure: &str,
        message: &impl Serialize,
        deadline: Duration,
    ) -> Result<T, ClientError> {
        let request = request(sandbox, user, Method::POST, &format!("/{procedure}"))
            .header("content-type", UNARY_CONTENT_TYPE)
            .header("connect-protocol-version", "1")
            .header(sandscope_agent_protocol::connect::TIMEOUT_HEADER, deadline.as_millis().to_string())
            .body(Full::new(Bytes::from(serde_json::to_vec(message)?)))?;
        let reply = self.edge.send(request, deadline + Duration::from_secs(5)).await?;
        if reply.status.is_success() {
            Ok(serde_json::from_slice(&reply.body)?)
        } else {
            Err(of_reply(&reply))
        }
    }
}
