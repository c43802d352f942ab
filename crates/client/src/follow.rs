//! Following the team's events: the stream, taken up again wherever it breaks.
//!
//! The position is the last `id` the server sent, as a browser keeps it; the stream asked for next starts behind it.
//! An event counts only once its whole text has arrived, so that a break in the middle of one loses nothing.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::Value;

use crate::control::{read_refusal, refusal, segment};
use crate::events::EventFilter;
use crate::types::Event;
use crate::{Client, ClientError};

/// How long the server may take to begin a stream.
const OPEN_DEADLINE: Duration = Duration::from_secs(30);
/// Longest silence: the server says something every 15 seconds.
const SILENCE: Duration = Duration::from_secs(60);
/// Waits before the next attempt.
const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// Longest event taken, in bytes.
const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;

/// What following a stream yields.
#[derive(Debug)]
pub enum Followed {
    /// The next event.
    Event(Event),
    /// Events are missing and cannot be read any more: what the server says about it.
    Reset(Value),
    /// The stream broke and is taken up again.
    Broken(ClientError),
}

/// The team's events from some point on.
pub struct Follow {
    client: Client,
    /// Path and query without the position.
    path: String,
    /// Where it started, until an `id` has been received.
    after: String,
    position: Option<u64>,
    connection: Option<(Incoming, Parser)>,
    ready: VecDeque<Message>,
    has_worked: bool,
    delay: Duration,
}

impl Client {
    /// Follows the team's events, of one sandbox or all, from behind number `after` (or `oldest`, or `latest`).
    /// Connects at the first [`next`](Follow::next).
    pub fn follow(&self, sandbox_id: Option<&str>, filter: &EventFilter, after: &str) -> Follow {
        let of = sandbox_id.map_or_else(String::new, |id| format!("&sandboxID={}", segment(id)));
        Follow {
            client: self.clone(),
            path: format!("/events/stream?after={}{of}{}", segment(after), filter.query()),
            after: after.to_owned(),
            position: None,
            connection: None,
            ready: VecDeque::new(),
            has_worked: false,
            delay: FIRST_DELAY,
        }
    }
}

impl Follow {
    /// What comes next; waits for it as long as it takes. Broken connections and servers that are busy or away are
    /// tried again for ever, once the stream has worked.
    ///
    /// # Errors
    /// [`ClientError`] if the server refuses, the first connection fails or a message cannot be parsed.
    pub async fn next(&mut self) -> Result<Followed, ClientError> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                if let Some(followed) = self.take(&message)? {
                    return Ok(followed);
                }
                continue;
            }
            match self.receive().await {
                Ok(()) => {}
                Err(error) if self.has_worked && is_transient(&error) => {
                    self.connection = None;
                    tokio::time::sleep(self.delay).await;
                    self.delay = (self.delay * 2).min(LONGEST_DELAY);
                    return Ok(Followed::Broken(error));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The number of the last event seen, or passed over as not wanted.
    pub const fn position(&self) -> Option<u64> {
        self.position
    }

    fn take(&mut self, message: &Message) -> Result<Option<Followed>, ClientError> {
        let seen = self.position;
        if let Some(id) = message.id {
            self.position = Some(id);
        }
        if message.data.is_empty() {
            return Ok(None);
        }
        if message.name == "reset" {
            return Ok(Some(Followed::Reset(serde_json::from_str(&message.data)?)));
        }
        if message.id.is_some() && message.id <= seen {
            // Reported already.
            self.position = seen;
            return Ok(None);
        }
        Ok(Some(Followed::Event(serde_json::from_str(&message.data)?)))
    }

    async fn receive(&mut self) -> Result<(), ClientError> {
        if self.connection.is_none() {
            let opened = self.open().await?;
            self.connection = Some((opened, Parser::default()));
            self.has_worked = true;
        }
        let Some((body, parser)) = &mut self.connection else { return Ok(()) };
        let frame = tokio::time::timeout(SILENCE, body.frame()).await;
        let frame = frame.map_err(|_| ClientError::Timeout(SILENCE))?;
        let frame = frame.ok_or_else(|| ClientError::Malformed("the stream ended".to_owned()))??;
        if let Ok(data) = frame.into_data() {
            self.delay = FIRST_DELAY;
            parser.feed(&data, &mut self.ready)?;
        }
        Ok(())
    }

    async fn open(&self) -> Result<Incoming, ClientError> {
        let mut request =
            self.client.request(Method::GET, &self.path).header(header::ACCEPT, "text/event-stream");
        if let Some(position) = self.position {
            request = request.header("last-event-id", position);
        }
        let request = request.body(Full::new(Bytes::new()))?;
        let response = self.client.control.open(request, OPEN_DEADLINE).await?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        Err(refusal(&read_refusal(response).await?))
    }
}

impl std::fmt::Debug for Follow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, after, position, .. } = self;
        f.debug_struct("Follow")
            .field("path", path)
            .field("after", after)
            .field("position", position)
            .finish()
    }
}

/// Whether trying again may help.
fn is_transient(error: &ClientError) -> bool {
    match error {
        ClientError::Refused { status, .. } => *status == 429 || *status >= 500,
        ClientError::Url(_) | ClientError::Json(_) | ClientError::TooLarge(_) => false,
        _ => true,
    }
}

/// One message of the stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    id: Option<u64>,
    pub(crate) name: String,
    pub(crate) data: String,
}

/// Takes the stream's text apart.
#[derive(Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    message: Message,
}

impl Parser {
    pub(crate) fn feed(&mut self, bytes: &[u8], messages: &mut VecDeque<Message>) -> Result<(), ClientError> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.line.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line));
            if line.is_empty() {
                messages.push_back(std::mem::take(&mut self.message));
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "id" => self.message.id = value.parse().ok(),
                "event" => value.clone_into(&mut self.message.name),
                "data" => {
                    if !self.message.data.is_empty() {
                        self.message.data.push('\n');
                    }
                    self.message.data.push_str(value);
                }
                _ => {}
            }
        }
        self.line.extend_from_slice(rest);
        if self.line.len() + self.message.data.len() > MAX_EVENT_BYTES {
            return Err(ClientError::TooLarge(MAX_EVENT_BYTES));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_taken_apart_wherever_it_is_cut() {
        let text = "retry: 1000\r\n: listening\r\n\r\nid: 7\ndata: {\"a\":\ndata: 1}\n\nevent: reset\nid:9\ndata:{}\n\n: still here\nid: 9\n\nid: 10\ndata: half";
        let message =
            |id, name: &str, data: &str| Message { id, name: name.to_owned(), data: data.to_owned() };
        for size in 1..text.len() {
            let (mut parser, mut messages) = (Parser::default(), VecDeque::new());
            for piece in text.as_bytes().chunks(size) {
                parser.feed(piece, &mut messages).unwrap();
            }
            assert_eq!(
                messages,
                [
                    Message::default(),
                    message(Some(7), "", "{\"a\":\n1}"),
                    message(Some(9), "reset", "{}"),
                    message(Some(9), "", ""),
                ],
                "{size}"
            );
        }
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let (mut parser, mut messages) = (Parser::default(), VecDeque::new());
        let piece = vec![b'x'; MAX_EVENT_BYTES];
        parser.feed(&piece, &mut messages).unwrap();
        assert!(parser.feed(b"y", &mut messages).is_err());
    }
}
