//! Plain requests to the edge, one connection each: what is measured is the server, not a client's comfort.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// The envd agent's port.
const AGENT: u16 = 49983;

/// Bytes handed over at once.
const CHUNK: usize = 64 * 1024;

/// How long one transfer may take.
const LIMIT: Duration = Duration::from_secs(600);

/// One sandbox, as seen from outside.
#[derive(Debug, Clone)]
pub(super) struct Inside {
    pub(super) server: SocketAddr,
    pub(super) id: String,
    pub(super) token: String,
}

/// A connection.
pub(super) type Sender<B> = SendRequest<B>;

/// Opens one.
pub(super) async fn connect<B>(address: SocketAddr) -> anyhow::Result<Sender<B>>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

impl Inside {
    /// The head of a request to `port`.
    pub(super) fn request(&self, method: &str, port: u16, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.server.to_string())
            .header("e2b-sandbox-id", &self.id)
            .header("e2b-sandbox-port", port)
            .header("x-access-token", &self.token)
    }

    /// Calls the agent; the answer is a stream of frames.
    pub(super) async fn stream(
        &self,
        sender: &mut Sender<Full<Bytes>>,
        call: &str,
        message: &Value,
    ) -> anyhow::Result<Response<Incoming>> {
        let message = message.to_string();
        let mut frame = BytesMut::with_capacity(message.len() + 5);
        frame.extend_from_slice(&[0]);
        frame.extend_from_slice(&u32::try_from(message.len())?.to_be_bytes());
        frame.extend_from_slice(message.as_bytes());
        let request = self
            .request("POST", AGENT, &format!("/process.Process/{call}"))
            .header(header::CONTENT_TYPE, "application/connect+json")
            .header("connect-protocol-version", "1");
        sender.ready().await?;
        let response = sender.send_request(request.body(Full::new(frame.freeze()))?).await?;
        anyhow::ensure!(response.status().is_success(), "the agent answered {}", response.status());
        Ok(response)
    }

    /// Runs a shell command to its end.
    pub(super) async fn run(&self, sender: &mut Sender<Full<Bytes>>, command: &str) -> anyhow::Result<()> {
        let response = self.stream(sender, "Start", &shell(command)).await?;
        let body = tokio::time::timeout(LIMIT, response.into_body().collect()).await??.to_bytes();
        let text = String::from_utf8_lossy(&body);
        anyhow::ensure!(text.contains("\"exited\":true") && !text.contains("exitCode"), "{command}: {text}");
        Ok(())
    }

    /// Starts a shell command that goes on; its process id, and the stream of its events.
    pub(super) async fn start(&self, command: &str) -> anyhow::Result<(u64, Response<Incoming>)> {
        let mut sender = connect(self.server).await?;
        let mut response = self.stream(&mut sender, "Start", &shell(command)).await?;
        let first = first_frame(&mut response).await?;
        let pid = first["event"]["start"]["pid"].as_u64().context("the first frame names no process")?;
        Ok((pid, response))
    }
}

fn shell(command: &str) -> Value {
    json!({ "process": { "cmd": "/bin/bash", "args": ["-l", "-c", command] }, "stdin": false })
}

/// The first message of a stream.
pub(super) async fn first_frame(response: &mut Response<Incoming>) -> anyhow::Result<Value> {
    let mut bytes = BytesMut::new();
    loop {
        if bytes.len() >= 5 {
            let length = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize;
            if bytes.len() >= 5 + length {
                return Ok(serde_json::from_slice(&bytes[5..5 + length])?);
            }
        }
        let frame = tokio::time::timeout(LIMIT, response.body_mut().frame()).await?;
        let frame = frame.context("the stream ended before its first message")??;
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(data);
        }
    }
}

/// Reads a body to its end; its length.
pub(super) async fn discard(response: Response<Incoming>) -> anyhow::Result<u64> {
    anyhow::ensure!(response.status().is_success(), "answered {}", response.status());
    let mut body = response.into_body();
    let reading = async {
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame?.data_ref().map_or(0, Bytes::len) as u64;
        }
        anyhow::Ok(length)
    };
    tokio::time::timeout(LIMIT, reading).await?
}

/// A body of so many zeroes.
#[derive(Debug, Clone)]
pub(super) struct Zeroes {
    left: u64,
    chunk: Bytes,
}

impl Zeroes {
    pub(super) fn new(length: u64) -> Self {
        Self { left: length, chunk: Bytes::from(vec![0; CHUNK]) }
    }
}

impl Body for Zeroes {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = self.left.min(CHUNK as u64);
        self.left -= length;
        Poll::Ready(Some(Ok(Frame::data(self.chunk.slice(..length as usize)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
