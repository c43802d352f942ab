//! The stream of events: every number exactly once, whatever happens to the connection.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt as _;
use sandscope_model::{Entropy as _, TeamLimits};
use sandscope_testbed::SeededEntropy;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::door::{Door, HEARTBEAT, KEY};
use crate::{Hangup, Health};

const BOUND: Duration = Duration::from_secs(60);

/// An event of the stream, complete.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Sent {
    name: String,
    id: Option<u64>,
    data: String,
}

/// Takes a stream apart as a browser does.
#[derive(Default)]
struct Parser {
    line: Vec<u8>,
    event: Sent,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8]) -> Vec<Sent> {
        let mut sent = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = String::from_utf8(std::mem::take(&mut self.line)).unwrap();
            match line.split_once(": ") {
                None if line.is_empty() => sent.push(std::mem::take(&mut self.event)),
                Some(("id", id)) => self.event.id = Some(id.parse().unwrap()),
                Some(("event", name)) => self.event.name = name.to_owned(),
                Some(("data", data)) => self.event.data = data.to_owned(),
                _ => {}
            }
        }
        sent
    }
}

/// A stream read through the body itself.
struct Open {
    body: axum::body::Body,
    parser: Parser,
    ready: std::collections::VecDeque<Sent>,
}

impl Open {
    async fn new(door: &Door, query: &str) -> Self {
        let answer = door.open_stream(&format!("/events/stream?{query}"), None).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { body: answer.into_body(), parser: Parser::default(), ready: [].into() }
    }

    /// The next event with data; none at the end of the stream.
    async fn next(&mut self) -> Option<Sent> {
        loop {
            if let Some(sent) = self.ready.pop_front() {
                if !sent.data.is_empty() {
                    return Some(sent);
                }
                continue;
            }
            let frame = tokio::time::timeout(BOUND, self.body.frame()).await.unwrap()?;
            self.ready.extend(self.parser.feed(&frame.unwrap().into_data().unwrap()));
        }
    }

    async fn id(&mut self) -> u64 {
        self.next().await.unwrap().id.unwrap()
    }
}

async fn extend(door: &Door, id: &str) {
    let path = format!("/sandboxes/{id}/timeout");
    assert!(door.ask(Some(KEY), "POST", &path, r#"{"timeout":600}"#).await.status.is_success());
}

#[tokio::test]
async fn a_stream_goes_on_where_it_was_and_tells_what_the_history_tells() {
    let door = Door::open().await;
    let id = door.sandbox(r#"{"templateID":"base"}"#).await;
    let mut from_start = Open::new(&door, "after=0").await;
    let mut from_now = Open::new(&door, "").await;
    assert_eq!(from_start.id().await, 1);
    extend(&door, &id).await;
    extend(&door, &id).await;
    assert_eq!((from_now.id().await, from_start.id().await), (2, 2));
    let third = from_now.next().await.unwrap();
    let history = door.ask(Some(KEY), "GET", "/events/sandboxes?limit=1", "").await;
    assert_eq!(serde_json::from_str::<Value>(&third.data).unwrap(), history.body[0]);
    assert_eq!((third.id, third.name.as_str()), (Some(3), ""));
    let mut resumed = Open::new(&door, "lastEventId=2&after=0").await;
    assert_eq!(resumed.id().await, 3);
}

#[tokio::test]
async fn a_filtered_stream_says_how_far_it_has_come() {
    let door = Door::open().await;
    let id = door.sandbox(r#"{"templateID":"base","metadata":{"a":"b"}}"#).await;
    let mut stream = Open::new(&door, "after=oldest&types=sandbox.lifecycle.paused&metadata=a%3Db").await;
    extend(&door, &id).await;
    // A heartbeat names the position although nothing was sent.
    let bound = tokio::time::timeout(BOUND, async {
        loop {
            let frame = tokio::select! {
                frame = stream.body.frame() => frame.unwrap().unwrap().into_data().unwrap(),
                () = door.let_streams_beat() => continue,
            };
            if stream.parser.feed(&frame).iter().any(|sent| sent.id == Some(2)) {
                return;
            }
        }
    });
    bound.await.unwrap();
    let pause = format!("/sandboxes/{id}/pause");
    assert!(door.ask(Some(KEY), "POST", &pause, "").await.status.is_success());
    assert_eq!(stream.id().await, 3);
}

#[tokio::test]
async fn what_cannot_be_read_any_more_is_said() {
    let door = Door::open().await;
    let id = door.sandbox(r#"{"templateID":"base","timeout":86400}"#).await;
    for _ in 0..3 {
        extend(&door, &id).await;
    }
    let ahead = Open::new(&door, "lastEventId=99").await.next().await.unwrap();
    assert_eq!((ahead.name.as_str(), ahead.id), ("reset", Some(4)));
    let data: Value = serde_json::from_str(&ahead.data).unwrap();
    assert_eq!((data["reason"].as_str(), data["last"].as_u64()), (Some("ahead"), Some(4)));

    let now = sandscope_model::Clock::now(&door.clock);
    door.store.facts.delete_expired(now + jiff::SignedDuration::from_hours(8 * 24)).await.unwrap();
    let expired = Open::new(&door, "lastEventId=1").await.next().await.unwrap();
    assert_eq!((expired.name.as_str(), expired.id), ("reset", Some(4)));
    let data: Value = serde_json::from_str(&expired.data).unwrap();
    assert_eq!((data["first"].as_u64(), data["last"].as_u64()), (Some(2), Some(4)));
    let page = door.ask(Some(KEY), "GET", "/events/sandboxes?orderAsc=true", "").await;
    assert_eq!((page.headers["x-events-lost"].to_str().unwrap(), page.body), ("1-4", serde_json::json!([])));
}

#[tokio::test]
async fn a_team_has_so_many_streams_and_gets_a_place_back() {
    let door = Door::open().await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(Open::new(&door, "").await);
    }
    let refused = door.ask(Some(KEY), "GET", "/events/stream", "").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    insta::assert_json_snapshot!(refused.body);
    let waiting = "/events/sandboxes?orderAsc=true&wait=1";
    assert_eq!(door.ask(Some(KEY), "GET", waiting, "").await.status, StatusCode::TOO_MANY_REQUESTS);
    open.pop();
    let again = async {
        while door.open_stream("/events/stream", None).await.status() != StatusCode::OK {
            // sleep: the pause between two tries
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(BOUND, again).await.unwrap();
}

#[tokio::test]
async fn a_draining_server_ends_its_streams() {
    let door = Door::open().await;
    let mut stream = Open::new(&door, "").await;
    door.health.send(Health::Draining).unwrap();
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_key_that_was_deleted_hears_nothing_more() {
    let door = Door::open().await;
    let made = door.ask(Some(KEY), "POST", "/api-keys", r#"{"name":"short"}"#).await.body;
    let request = http::Request::get("/events/stream").header("x-api-key", made["key"].as_str().unwrap());
    let path = format!("/api-keys/{}", made["id"].as_str().unwrap());
    let listening = door.send(request.body(axum::body::Body::empty()).unwrap());
    let (answer, _) = tokio::join!(listening, async {
        door.wait_for_a_sleep_within(HEARTBEAT).await;
        let answer = door.ask(Some(KEY), "DELETE", &path, "").await;
        door.let_streams_beat().await;
        answer
    });
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_and_keeps_nobody_waiting() {
    let door = Door::open().await;
    let id = door.sandbox(r#"{"templateID":"base"}"#).await;
    let cut = Arc::new(Notify::new());
    let answer = door.open_stream("/events/stream?after=0", Some(Hangup(Arc::clone(&cut)))).await;
    for _ in 0..20 {
        extend(&door, &id).await;
    }
    tokio::time::timeout(BOUND, cut.notified()).await.unwrap();
    let mut got = Open { body: answer.into_body(), parser: Parser::default(), ready: [].into() };
    let mut last = 0;
    while let Some(sent) = got.next().await {
        assert_eq!(sent.id, Some(last + 1));
        last += 1;
    }
    assert!(last < 21, "everything fitted");
    let mut resumed = Open::new(&door, &format!("lastEventId={last}")).await;
    for sequence in last + 1..=21 {
        assert_eq!(resumed.id().await, sequence);
    }
}

/// What one connection yields: it is read up to `budget` bytes and then dropped, wherever that is.
async fn read_some(address: std::net::SocketAddr, after: u64, budget: usize) -> Vec<u64> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // An old version of HTTP, so that the body comes as it is.
    let head = format!("GET /events/stream HTTP/1.0\r\nX-API-Key: {KEY}\r\nLast-Event-ID: {after}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    let reading = async {
        while bytes.len() < budget {
            let room = (budget - bytes.len()).min(buffer.len());
            match socket.read(&mut buffer[..room]).await {
                Ok(0) | Err(_) => return,
                Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(500), reading).await;
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Vec::new() };
    if bytes.starts_with(b"HTTP/1.0 429") {
        // The last connection's end has not been noticed yet.
        return Vec::new();
    }
    assert!(bytes.starts_with(b"HTTP/1.0 200"), "{}", String::from_utf8_lossy(&bytes));
    let sent = Parser::default().feed(&bytes[head + 4..]);
    sent.iter().filter(|sent| !sent.data.is_empty()).map(|sent| sent.id.unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_disconnected_at_random_200_times_sees_every_number_exactly_once() {
    const N_WRITERS: usize = 4;
    const N_CONNECTIONS: usize = 200;
    let door = Arc::new(Door::with_limits(TeamLimits::default()).await);
    let address = door.listen().await;
    let done = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for _ in 0..N_WRITERS {
        let (door, done) = (Arc::clone(&door), Arc::clone(&done));
        writers.push(tokio::spawn(async move {
            let id = door.sandbox(r#"{"templateID":"base"}"#).await;
            while !done.load(Ordering::Relaxed) {
                extend(&door, &id).await;
                // sleep: the pace of the load
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        }));
    }
    // One that waits for pages, and goes away in the middle of waiting.
    let all_written = Arc::new(AtomicBool::new(false));
    let (poller, is_done) = (Arc::clone(&door), Arc::clone(&all_written));
    let polling = tokio::spawn(async move {
        let (mut seen, mut cursor) = (Vec::new(), None::<String>);
        let mut patience = 0;
        loop {
            // Looked at before each page: where nothing follows, its patience ends before any page comes.
            if is_done.load(Ordering::Relaxed) {
                let last = poller.store.events.last_sequence(poller.team).await.unwrap();
                if seen.last() == Some(&last) {
                    return seen;
                }
            }
            let at = cursor.as_ref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let path = format!("/events/sandboxes?orderAsc=true&limit=7&wait=1{at}");
            patience = (patience * 7 + 3) % 40;
            let page = poller.ask(Some(KEY), "GET", &path, "");
            let Ok(page) = tokio::time::timeout(Duration::from_millis(patience), page).await else {
                continue;
            };
            if page.status == StatusCode::TOO_MANY_REQUESTS {
                continue;
            }
            assert_eq!(page.status, StatusCode::OK, "{}", page.body);
            let events = page.body.as_array().unwrap();
            seen.extend(events.iter().map(|event| event["sequence"].as_u64().unwrap()));
            cursor = Some(page.headers["x-next-cursor"].to_str().unwrap().to_owned());
        }
    });

    let chance = SeededEntropy::new(4711);
    let mut seen = Vec::new();
    for n in 0..N_CONNECTIONS {
        let mut bytes = [0; 2];
        chance.fill(&mut bytes);
        // From the middle of the answer's head to a dozen events.
        let budget = 100 + usize::from(u16::from_le_bytes(bytes)) % 8_000;
        let after = seen.last().copied().unwrap_or(0);
        seen.extend(read_some(address, after, budget).await);
        if n + 1 == N_CONNECTIONS {
            done.store(true, Ordering::Relaxed);
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    all_written.store(true, Ordering::Relaxed);
    let last = door.store.events.last_sequence(door.team).await.unwrap();
    let rest = async {
        while seen.last() != Some(&last) {
            let after = seen.last().copied().unwrap_or(0);
            seen.extend(read_some(address, after, 1 << 20).await);
        }
    };
    tokio::time::timeout(BOUND, rest).await.unwrap();
    let all: Vec<u64> = (1..=last).collect();
    assert!(last > 100, "hardly anything was written: {last}");
    assert_eq!(seen, all);
    let polled = tokio::time::timeout(BOUND, polling).await.unwrap().unwrap();
    assert_eq!(polled, all);
    assert_eq!(polled.iter().collect::<BTreeSet<_>>().len(), all.len());
}
