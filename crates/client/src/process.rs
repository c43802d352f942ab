//! Commands in a sandbox: the agent's `process.Process/Start` stream, reached through the edge.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use sandscope_agent_protocol::connect::{EndOfStream, KEEPALIVE_HEADER, STREAM_CONTENT_TYPE, TIMEOUT_HEADER};
use sandscope_agent_protocol::process::{self, Output, ProcessConfig, ProcessResponse, StartRequest};
use sandscope_agent_protocol::{AGENT_PORT, FrameDecoder, frame};

use crate::control::refusal;
use crate::types::Sandbox;
use crate::{Client, ClientError, Reply};

/// How long the agent may take to answer that it started a command.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// A command to be run.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// Program.
    pub cmd: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment, over the sandbox's own.
    pub envs: BTreeMap<String, String>,
    /// As whom; the sandbox's default user where absent.
    pub user: Option<String>,
    /// The agent kills it after this long; never where absent.
    pub time_limit: Option<Duration>,
}

impl Command {
    /// `script`, run by a login shell as the official clients do.
    pub fn shell(script: &str) -> Self {
        Self {
            cmd: "/bin/bash".to_owned(),
            args: vec!["-l".to_owned(), "-c".to_owned(), script.to_owned()],
            ..Self::default()
        }
    }
}

/// What a running command tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessEvent {
    /// It runs.
    Started {
        /// Its process id in the sandbox.
        pid: u32,
    },
    /// It wrote to standard output.
    Stdout(Bytes),
    /// It wrote to standard error.
    Stderr(Bytes),
    /// It ended; nothing follows.
    Ended {
        /// Its exit code.
        exit_code: i32,
        /// In words, for example `exit status 1`.
        status: String,
    },
}

/// A running command. Dropping it leaves the command running.
#[derive(Debug)]
pub struct ProcessStream {
    body: Incoming,
    decoder: FrameDecoder,
}

impl Client {
    /// Starts `command` in `sandbox`.
    pub async fn start(&self, sandbox: &Sandbox, command: &Command) -> Result<ProcessStream, ClientError> {
        let message = StartRequest {
            process: Some(ProcessConfig {
                cmd: command.cmd.clone(),
                args: command.args.clone(),
                envs: command.envs.clone(),
                cwd: None,
            }),
            pty: None,
            tag: None,
            stdin: Some(false),
        };
        let mut request = Request::builder()
            .method(Method::POST)
            .uri("/process.Process/Start")
            .header("content-type", STREAM_CONTENT_TYPE)
            .header("connect-protocol-version", "1")
            .header(KEEPALIVE_HEADER, "50")
            .header("e2b-sandbox-id", &sandbox.sandbox_id)
            .header("e2b-sandbox-port", AGENT_PORT);
        if let Some(token) = &sandbox.envd_access_token {
            request = request.header("x-access-token", token);
        }
        if let Some(user) = &command.user {
            request =
                request.header("authorization", format!("Basic {}", STANDARD.encode(format!("{user}:"))));
        }
        if let Some(limit) = command.time_limit {
            request = request.header(TIMEOUT_HEADER, limit.as_millis().to_string());
        }
        let request = request.body(Full::new(frame::encode(&message)?))?;
        let (response, _connection) = self.edge.open(request, START_DEADLINE).await?;
        let (head, body) = response.into_parts();
        if head.status.is_success() {
            return Ok(ProcessStream { body, decoder: FrameDecoder::default() });
        }
        let body = Limited::new(body, 64 * 1024);
        let body =
            body.collect().await.map_err(|error| ClientError::Malformed(error.to_string()))?.to_bytes();
        Err(refusal(&Reply { status: head.status, headers: head.headers, body }))
    }

    /// Runs `command` to its end and returns its exit code and what it wrote to standard output, of which at most
    /// 1 MiB is kept.
    pub async fn run(&self, sandbox: &Sandbox, command: &Command) -> Result<(i32, String), ClientError> {
        let mut stream = self.start(sandbox, command).await?;
        let mut output = Vec::new();
        while let Some(event) = stream.next().await? {
            match event {
                ProcessEvent::Stdout(bytes) if output.len() < 1024 * 1024 => output.extend_from_slice(&bytes),
                ProcessEvent::Ended { exit_code, .. } => {
                    return Ok((exit_code, String::from_utf8_lossy(&output).into_owned()));
                }
                _ => {}
            }
        }
        Err(ClientError::Malformed("the stream ended before the command did".to_owned()))
    }
}

impl ProcessStream {
    /// The next event; `None` once the stream has ended.
    pub async fn next(&mut self) -> Result<Option<ProcessEvent>, ClientError> {
        loop {
            while let Some(frame) = self.decoder.next()? {
                if frame.end_of_stream {
                    let end: EndOfStream = serde_json::from_slice(&frame.payload)?;
                    return end.error.map_or(Ok(None), |error| Err(error.into()));
                }
                let message: ProcessResponse = serde_json::from_slice(&frame.payload)?;
                if let Some(event) = meaning(message.event) {
                    return Ok(Some(event));
                }
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.decoder.push(&data);
                    }
                }
                None => {
                    self.decoder.finish()?;
                    return Ok(None);
                }
            }
        }
    }
}

/// What a message says; `None` where it only keeps the stream alive. There is no terminal, as none is asked for.
fn meaning(event: process::ProcessEvent) -> Option<ProcessEvent> {
    match event {
        process::ProcessEvent::Start { pid } => Some(ProcessEvent::Started { pid }),
        process::ProcessEvent::Data(Output::Stdout(bytes)) => Some(ProcessEvent::Stdout(bytes.0)),
        process::ProcessEvent::Data(Output::Stderr(bytes)) => Some(ProcessEvent::Stderr(bytes.0)),
        process::ProcessEvent::End(end) => {
            Some(ProcessEvent::Ended { exit_code: end.exit_code, status: end.status })
        }
        process::ProcessEvent::Data(Output::Pty(_)) | process::ProcessEvent::Keepalive {} => None,
    }
}
