//! A close look: live metrics, details, processes.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use sandscope_wire::details::{SandboxDetails, SandboxProcess};
use sandscope_wire::metrics::{LiveMetric, LiveTeam};
use serde::de::DeserializeOwned;

use crate::control::{read_refusal, refusal, segment};
use crate::follow::{Message, Parser};
use crate::{Client, ClientError};

/// How long the server may take to begin a stream.
const OPEN_DEADLINE: Duration = Duration::from_secs(30);
/// Longest silence: the server says something every second.
const SILENCE: Duration = Duration::from_secs(30);

/// A stream of seconds.
pub struct Seconds<T> {
    body: Incoming,
    parser: Parser,
    ready: VecDeque<Message>,
    kind: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for Seconds<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seconds").finish_non_exhaustive()
    }
}

impl Client {
    /// Everything the kernel knows about a sandbox now.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn details(&self, id: &str) -> Result<SandboxDetails, ClientError> {
        self.get(&format!("/sandboxes/{}/metrics/extended", segment(id))).await
    }

    /// What runs in a sandbox, the busiest first. Takes the server a second.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn processes(&self, id: &str, limit: u32) -> Result<Vec<SandboxProcess>, ClientError> {
        self.get(&format!("/sandboxes/{}/processes?limit={limit}", segment(id))).await
    }

    /// A sandbox's metrics every second, after the `last` seconds from memory.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn follow_metrics(&self, id: &str, last: u32) -> Result<Seconds<LiveMetric>, ClientError> {
        self.seconds(&format!("/sandboxes/{}/metrics/stream?last={last}", segment(id))).await
    }

    /// The metrics of all running sandboxes every second.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn follow_all_metrics(&self) -> Result<Seconds<LiveTeam>, ClientError> {
        self.seconds("/sandboxes/metrics/stream").await
    }

    async fn seconds<T>(&self, path: &str) -> Result<Seconds<T>, ClientError> {
        let request = self.request(Method::GET, path).header(header::ACCEPT, "text/event-stream");
        let request = request.body(Full::new(Bytes::new()))?;
        let response = self.control.open(request, OPEN_DEADLINE).await?;
        if response.status().is_success() {
            let (body, parser, ready) = (response.into_body(), Parser::default(), VecDeque::new());
            return Ok(Seconds { body, parser, ready, kind: PhantomData });
        }
        Err(refusal(&read_refusal(response).await?))
    }
}

impl<T: DeserializeOwned> Seconds<T> {
    /// The next second; `None` once the stream has ended.
    ///
    /// # Errors
    /// [`ClientError`] if the connection breaks or a second cannot be parsed.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            while let Some(message) = self.ready.pop_front() {
                if message.name == "end" {
                    return Ok(None);
                }
                if !message.data.is_empty() {
                    return Ok(Some(serde_json::from_str(&message.data)?));
                }
            }
            let frame = tokio::time::timeout(SILENCE, self.body.frame()).await;
            let Some(frame) = frame.map_err(|_| ClientError::Timeout(SILENCE))? else { return Ok(None) };
            if let Ok(data) = frame?.into_data() {
                self.parser.feed(&data, &mut self.ready)?;
            }
        }
    }
}
