//! Commands in a sandbox: the agent's `process.Process/Start` stream, reached through the edge.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;

use crate::control::refusal;
use crate::types::Sandbox;
use crate::{Client, ClientError, Reply};

/// The agent's port.
const AGENT_PORT: &str = "49983";

/// Largest frame taken, in bytes. The agent sends at most 32 KiB of output per frame.
const MAX_FRAME_BYTES: usize = 4 * 1024 * 1024;

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
    buffer: BytesMut,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Frame {
    event: Option<EventFrame>,
    error: Option<ErrorFrame>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct EventFrame {
    start: Option<StartFrame>,
    data: Option<DataFrame>,
    end: Option<EndFrame>,
}

#[derive(Deserialize)]
struct StartFrame {
    pid: u32,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct DataFrame {
    stdout: Option<String>,
    stderr: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct EndFrame {
    exit_code: i32,
    status: String,
}

#[derive(Deserialize)]
struct ErrorFrame {
    code: String,
    #[serde(default)]
    message: String,
}

impl Client {
    /// Starts `command` in `sandbox`.
    pub async fn start(&self, sandbox: &Sandbox, command: &Command) -> Result<ProcessStream, ClientError> {
        let message = json!({
            "process": { "cmd": command.cmd, "args": command.args, "envs": command.envs },
            "stdin": false,
        });
        let mut request = Request::builder()
            .method(Method::POST)
            .uri("/process.Process/Start")
            .header("content-type", "application/connect+json")
            .header("connect-protocol-version", "1")
            .header("keepalive-ping-interval", "50")
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
            request = request.header("connect-timeout-ms", limit.as_millis().to_string());
        }
        let request =
            request.body(Full::new(envelope(&serde_json::to_vec(&message).map_err(ClientError::Json)?)))?;
        let (response, _connection) = self.edge.open(request, START_DEADLINE).await?;
        let (head, body) = response.into_parts();
        if head.status.is_success() {
            return Ok(ProcessStream { body, buffer: BytesMut::new() });
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
            while let Some((flags, payload)) = take_frame(&mut self.buffer)? {
                let frame: Frame = serde_json::from_slice(&payload).map_err(ClientError::Json)?;
                if let Some(error) = frame.error {
                    return Err(ClientError::Malformed(format!("{}: {}", error.code, error.message)));
                }
                if flags & 0x02 != 0 {
                    return Ok(None);
                }
                if let Some(event) = frame.event.map(meaning).transpose()?.flatten() {
                    return Ok(Some(event));
                }
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                None if self.buffer.is_empty() => return Ok(None),
                None => {
                    return Err(ClientError::Malformed("the stream ended within a frame".to_owned()));
                }
            }
        }
    }
}

/// What a frame says; `None` for a keepalive.
fn meaning(frame: EventFrame) -> Result<Option<ProcessEvent>, ClientError> {
    let decode = |text: String| {
        STANDARD
            .decode(text)
            .map(Bytes::from)
            .map_err(|_| ClientError::Malformed("output is not base64".to_owned()))
    };
    if let Some(start) = frame.start {
        return Ok(Some(ProcessEvent::Started { pid: start.pid }));
    }
    if let Some(end) = frame.end {
        return Ok(Some(ProcessEvent::Ended { exit_code: end.exit_code, status: end.status }));
    }
    match frame.data {
        Some(DataFrame { stdout: Some(text), .. }) => decode(text).map(ProcessEvent::Stdout).map(Some),
        Some(DataFrame { stderr: Some(text), .. }) => decode(text).map(ProcessEvent::Stderr).map(Some),
        _ => Ok(None),
    }
}

fn envelope(payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(payload.len() + 5);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    bytes.put_slice(payload);
    bytes.freeze()
}

/// Takes one whole frame (flags, payload) off `buffer`, if one is there.
fn take_frame(buffer: &mut BytesMut) -> Result<Option<(u8, Bytes)>, ClientError> {
    let Some(header) = buffer.first_chunk::<5>() else {
        return Ok(None);
    };
    let [flags, length @ ..] = *header;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_FRAME_BYTES {
        return Err(ClientError::TooLarge(MAX_FRAME_BYTES));
    }
    if buffer.len() < 5 + length {
        return Ok(None);
    }
    buffer.advance(5);
    Ok(Some((flags, buffer.split_to(length).freeze())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_off_the_buffer_whole_whatever_the_split() {
        let wire: Vec<u8> = [envelope(b"{}").as_ref(), envelope(br#"{"event":{}}"#).as_ref()].concat();
        for split in 0..wire.len() {
            let mut buffer = BytesMut::from(&wire[..split]);
            let mut frames = Vec::new();
            for rest in [&wire[split..], &[]] {
                while let Some(frame) = take_frame(&mut buffer).unwrap() {
                    frames.push(frame);
                }
                buffer.extend_from_slice(rest);
            }
            assert_eq!(frames.len(), 2, "split at {split}");
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_before_it_is_read() {
        let mut buffer = BytesMut::from(&[0, 0xff, 0xff, 0xff, 0xff][..]);
        assert!(matches!(take_frame(&mut buffer), Err(ClientError::TooLarge(_))));
    }

    #[test]
    fn an_end_without_exit_code_means_zero() {
        let frame: Frame =
            serde_json::from_str(r#"{"event":{"end":{"exited":true,"status":"exit status 0"}}}"#).unwrap();
        let event = meaning(frame.event.unwrap()).unwrap();
        assert_eq!(event, Some(ProcessEvent::Ended { exit_code: 0, status: "exit status 0".to_owned() }));
    }
}
