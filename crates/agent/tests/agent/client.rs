//! A client of few words: one request per connection, answers read as they come.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandscope_agent_protocol::frame;
use sandscope_agent_protocol::{Frame, FrameDecoder};
use serde_json::{Value, json};

pub(crate) const BOOT_TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
pub(crate) const TOKEN: &str = "ea_test";

/// Nothing in these tests takes longer unless it is broken.
const LIMIT: Duration = Duration::from_secs(30);

/// A running agent; ended when dropped.
pub(crate) struct Agent {
    child: Child,
    address: SocketAddr,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The user these tests run as.
pub(crate) fn me() -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let uid = rustix::process::getuid().as_raw().to_string();
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid)).unwrap();
    line.split(':').next().unwrap().to_owned()
}

impl Agent {
    /// Started and not yet configured.
    pub(crate) fn bare() -> Self {
        // A shell moves the token from standard input to the descriptor where the agent looks for it.
        let mut child = Command::new("/bin/sh")
            .args(["-c", "exec 3<&0 </dev/null; exec \"$0\" --listen 127.0.0.1:0"])
            .arg(env!("CARGO_BIN_EXE_sandscope-agent"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(BOOT_TOKEN.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, address: line.trim().parse().unwrap() }
    }

    /// Started, with a token, and this user as the default.
    pub(crate) fn start() -> Self {
        let agent = Self::bare();
        let init = json!({
            "accessToken": TOKEN, "envVars": {"FROM_INIT": "yes"}, "defaultUser": me(), "defaultWorkdir": "/tmp",
            "sandboxId": "isbx", "templateId": "tpl",
        });
        let answer =
            agent.send("POST", "/init", &[("x-boot-token", BOOT_TOKEN)], init.to_string().as_bytes());
        assert_eq!(answer.status, 204);
        agent
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Memory that is the agent's alone, in bytes.
    pub(crate) fn private_bytes(&self) -> u64 {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid())).unwrap();
        let lines = rollup.lines().filter(|line| line.starts_with("Private_"));
        lines.map(|line| line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024).sum()
    }

    /// Exactly these headers.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        stream.write_all(head.as_bytes()).unwrap();
        // An agent that refuses early may close before it has read everything.
        let taken = stream.write_all(body).is_ok();
        Answer { taken, ..Answer::read(stream) }
    }

    /// With the token.
    pub(crate) fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send(method, path, &[headers, &[("x-access-token", TOKEN)]].concat(), body)
    }

    /// A unary call: status and message.
    pub(crate) fn unary(&self, path: &str, message: &Value) -> (u16, Value) {
        let headers = [("content-type", "application/json"), ("connect-protocol-version", "1")];
        let answer = self.call("POST", path, &headers, message.to_string().as_bytes());
        let status = answer.status;
        (status, serde_json::from_slice(&answer.bytes()).unwrap())
    }

    /// A call whose answer streams.
    pub(crate) fn stream(&self, path: &str, headers: &[(&str, &str)], messages: &[Value]) -> Events {
        let mut body = Vec::new();
        for message in messages {
            body.extend_from_slice(&frame::encode(message).unwrap());
        }
        let headers = [headers, &[("content-type", "application/connect+json")]].concat();
        let answer = self.call("POST", path, &headers, &body);
        assert_eq!(answer.status, 200);
        // No proxy between is to keep a stream back.
        assert_eq!(answer.header("x-accel-buffering"), Some("no"));
        assert_eq!(answer.header("cache-control"), Some("no-store, no-transform"));
        Events { answer, decoder: FrameDecoder::default(), ended: None }
    }

    pub(crate) fn process(&self, headers: &[(&str, &str)], message: &Value) -> Events {
        self.stream("/process.Process/Start", headers, std::slice::from_ref(message))
    }

    /// Runs a script to its end.
    pub(crate) fn run(&self, script: &str) -> Outcome {
        self.process(&[], &shell(script)).outcome()
    }
}

pub(crate) fn shell(script: &str) -> Value {
    json!({"process": {"cmd": "/bin/sh", "args": ["-c", script]}, "stdin": false})
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Whether the agent let the whole request be written.
    pub(crate) taken: bool,
    pub(crate) head: String,
    reader: BufReader<TcpStream>,
    chunked: bool,
    left: usize,
}

impl Answer {
    fn read(stream: TcpStream) -> Self {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).unwrap(), 0, "no answer: {head}");
        }
        let head = head.to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer =
            Self { status, taken: true, chunked: head.contains("chunked"), head, reader, left: 0 };
        if status == 204 || status == 304 {
            return answer;
        }
        answer.left = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Some of the body; empty at its end.
    fn piece(&mut self) -> Vec<u8> {
        if self.chunked && self.left == 0 {
            let mut line = String::new();
            self.reader.read_line(&mut line).unwrap();
            self.left = usize::from_str_radix(line.trim(), 16).unwrap() + 2;
        }
        let mut piece = vec![0; self.left];
        self.reader.read_exact(&mut piece).unwrap();
        self.left = 0;
        if self.chunked {
            piece.truncate(piece.len() - 2);
        }
        piece
    }

    pub(crate) fn bytes(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let piece = self.piece();
            if piece.is_empty() {
                return bytes;
            }
            bytes.extend(piece);
        }
    }

    pub(crate) fn json(self) -> Value {
        serde_json::from_slice(&self.bytes()).unwrap()
    }
}

/// The events of a stream.
pub(crate) struct Events {
    answer: Answer,
    decoder: FrameDecoder,
    /// The last frame.
    pub(crate) ended: Option<Value>,
}

impl Events {
    fn frame(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.decoder.next().unwrap() {
                return frame;
            }
            let piece = self.answer.piece();
            assert!(!piece.is_empty(), "the stream broke off");
            self.decoder.push(&piece);
        }
    }

    /// The next event; `None` when the last frame came.
    pub(crate) fn next(&mut self) -> Option<Value> {
        let frame = self.frame();
        let value: Value = serde_json::from_slice(&frame.payload).unwrap();
        if frame.end_of_stream {
            self.ended = Some(value);
            return None;
        }
        Some(value)
    }

    pub(crate) fn pid(&mut self) -> u64 {
        self.next().unwrap()["event"]["start"]["pid"].as_u64().unwrap()
    }

    /// Reads until the output of `stream` contains `text`.
    pub(crate) fn until(&mut self, stream: &str, text: &str) -> String {
        let mut seen = String::new();
        while !seen.contains(text) {
            let event = self.next().unwrap_or_else(|| panic!("ended before {text:?} came: {seen:?}"));
            seen.push_str(&decode(&event["event"]["data"][stream]));
        }
        seen
    }

    pub(crate) fn outcome(mut self) -> Outcome {
        let mut outcome = Outcome::default();
        while let Some(event) = self.next() {
            let event = &event["event"];
            outcome.pid = event["start"]["pid"].as_u64().or(outcome.pid);
            outcome.stdout.push_str(&decode(&event["data"]["stdout"]));
            outcome.stderr.push_str(&decode(&event["data"]["stderr"]));
            outcome.keepalives += usize::from(!event["keepalive"].is_null());
            if !event["end"].is_null() {
                outcome.end = event["end"].clone();
            }
        }
        outcome.closed = self.ended.unwrap();
        outcome
    }
}

fn decode(value: &Value) -> String {
    let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) pid: Option<u64>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) keepalives: usize,
    pub(crate) end: Value,
    pub(crate) closed: Value,
}
