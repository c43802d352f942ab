//! Commands in a sandbox: the agent's `process.Process` calls, reached through the edge.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use sandscope_agent_protocol::connect::{EndOfStream, KEEPALIVE_HEADER, STREAM_CONTENT_TYPE, TIMEOUT_HEADER};
use sandscope_agent_protocol::process::{
    self, Output, ProcessConfig, ProcessInput, ProcessRequest, ProcessResponse, ProcessSelector, Pty,
    PtySize, SendInputRequest, SendSignalRequest, StartRequest, UpdateRequest,
};
use sandscope_agent_protocol::{FrameDecoder, frame};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::agent::{CALL_DEADLINE, refused, request};
use crate::types::Sandbox;
use crate::{Client, ClientError};

/// How long the agent may take to answer that it started a command.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// How long input may wait for a command that does not read.
const INPUT_DEADLINE: Duration = Duration::from_secs(24 * 3600);

/// A command to be run.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// The program: a name looked up in `PATH`, or a path.
    pub cmd: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment, over the sandbox's own.
    pub envs: BTreeMap<String, String>,
    /// Where it starts; in the user's home where absent.
    pub cwd: Option<String>,
    /// As whom; the sandbox's default user where absent.
    pub user: Option<String>,
    /// Whether it gets standard input from [`Client::send_stdin`]; otherwise that is empty.
    pub stdin: bool,
    /// The size of the terminal it runs on, if it runs on one.
    pub terminal: Option<TerminalSize>,
    /// The agent kills it after this long; never where absent.
    pub time_limit: Option<Duration>,
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Width, in columns.
    pub cols: u16,
    /// Height, in rows.
    pub rows: u16,
}

impl From<TerminalSize> for Pty {
    fn from(TerminalSize { cols, rows }: TerminalSize) -> Self {
        Self { size: Some(PtySize { cols: cols.into(), rows: rows.into() }) }
    }
}

/// How a command is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, which a process may handle.
    Terminate,
    /// SIGKILL, which ends a process at once.
    Kill,
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

/// What a running command reports.
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
    /// Its terminal shows more.
    Terminal(Bytes),
    /// It ended; nothing follows.
    Ended {
        /// Its exit code; -1 if a signal ended it.
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
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or the agent cannot start the command.
    pub async fn start(&self, sandbox: &Sandbox, command: &Command) -> Result<ProcessStream, ClientError> {
        let message = StartRequest {
            process: Some(ProcessConfig {
                cmd: command.cmd.clone(),
                args: command.args.clone(),
                envs: command.envs.clone(),
                cwd: command.cwd.clone(),
            }),
            pty: command.terminal.map(Into::into),
            tag: None,
            stdin: Some(command.stdin),
        };
        let mut request = request(sandbox, command.user.as_deref(), Method::POST, "/process.Process/Start")
            .header("content-type", STREAM_CONTENT_TYPE)
            .header("connect-protocol-version", "1")
            .header(KEEPALIVE_HEADER, "50");
        if let Some(limit) = command.time_limit {
            request = request.header(TIMEOUT_HEADER, limit.as_millis().to_string());
        }
        let request = request.body(Full::new(frame::encode(&message)?))?;
        let response = self.edge.open(request, START_DEADLINE).await?;
        if response.status().is_success() {
            return Ok(ProcessStream { body: response.into_body(), decoder: FrameDecoder::default() });
        }
        Err(refused(response).await)
    }

    /// Runs `command` to its end and returns its exit code and what it wrote to standard output, of which at most
    /// 1 MiB is kept.
    ///
    /// # Errors
    /// [`ClientError`] if the command cannot be started or its stream ends before it does.
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

    /// Hands `bytes` to a command's standard input. Waits while it does not read.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn send_stdin(&self, sandbox: &Sandbox, pid: u32, bytes: Bytes) -> Result<(), ClientError> {
        self.send_input(sandbox, pid, ProcessInput::Stdin(bytes.into())).await
    }

    /// Types `bytes` on a command's terminal.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn send_keys(&self, sandbox: &Sandbox, pid: u32, bytes: Bytes) -> Result<(), ClientError> {
        self.send_input(sandbox, pid, ProcessInput::Pty(bytes.into())).await
    }

    async fn send_input(&self, sandbox: &Sandbox, pid: u32, input: ProcessInput) -> Result<(), ClientError> {
        let message = SendInputRequest { process: Some(ProcessSelector::Pid(pid)), input: Some(input) };
        self.send_input_message(sandbox, "process.Process/SendInput", &message, INPUT_DEADLINE).await
    }

    /// Ends a command's standard input.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn close_stdin(&self, sandbox: &Sandbox, pid: u32) -> Result<(), ClientError> {
        let message = ProcessRequest { process: Some(ProcessSelector::Pid(pid)) };
        self.send_input_message(sandbox, "process.Process/CloseStdin", &message, CALL_DEADLINE).await
    }

    /// Asks a command, and whatever it started, to end.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn signal(&self, sandbox: &Sandbox, pid: u32, signal: Signal) -> Result<(), ClientError> {
        let signal = match signal {
            Signal::Terminate => process::Signal::Sigterm,
            Signal::Kill => process::Signal::Sigkill,
        };
        let message = SendSignalRequest { process: Some(ProcessSelector::Pid(pid)), signal };
        self.send_input_message(sandbox, "process.Process/SendSignal", &message, CALL_DEADLINE).await
    }

    /// Changes the size of a command's terminal.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn resize(&self, sandbox: &Sandbox, pid: u32, size: TerminalSize) -> Result<(), ClientError> {
        let message = UpdateRequest { process: Some(ProcessSelector::Pid(pid)), pty: Some(size.into()) };
        self.send_input_message(sandbox, "process.Process/Update", &message, CALL_DEADLINE).await
    }

    async fn send_input_message(
        &self,
        sandbox: &Sandbox,
        procedure: &str,
        message: &impl Serialize,
        deadline: Duration,
    ) -> Result<(), ClientError> {
        self.call::<Map<String, Value>>(sandbox, None, procedure, message, deadline).await.map(|_| ())
    }
}

impl ProcessStream {
    /// The next event; `None` once the stream has ended.
    ///
    /// # Errors
    /// [`ClientError`] if the connection breaks or the agent reports an error.
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

/// What a message says; `None` where it only keeps the stream alive.
fn meaning(event: process::ProcessEvent) -> Option<ProcessEvent> {
    match event {
        process::ProcessEvent::Start { pid } => Some(ProcessEvent::Started { pid }),
        process::ProcessEvent::Data(Output::Stdout(bytes)) => Some(ProcessEvent::Stdout(bytes.0)),
        process::ProcessEvent::Data(Output::Stderr(bytes)) => Some(ProcessEvent::Stderr(bytes.0)),
        process::ProcessEvent::Data(Output::Pty(bytes)) => Some(ProcessEvent::Terminal(bytes.0)),
        process::ProcessEvent::End(end) => {
            Some(ProcessEvent::Ended { exit_code: end.exit_code, status: end.status })
        }
        process::ProcessEvent::Keepalive {} => None,
    }
}
