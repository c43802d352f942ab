//! Bodies, upgrades and broken connections, over real sockets on both sides.

use std::fmt::Write as _;
use std::time::Duration;

use sandscope_model::Sandbox;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{BOUND, PORT, World, echo};

/// Bytes carried to show that memory does not grow with them, and how much it may grow all the same.
const LARGE: u64 = 256 << 20;
const GROWTH: u64 = 48 << 20;

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, future).await.unwrap_or_else(|_| panic!("never: {what}"))
}

async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("a head", stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

/// The names of the headers in `head`, in order.
async fn names(stream: &mut (impl AsyncRead + Unpin)) -> Vec<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within("a head", stream.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    head.lines().filter_map(|line| Some(line.split_once(": ")?.0.to_owned())).collect()
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

async fn hears(stream: &mut (impl AsyncRead + Unpin), text: &str) {
    let mut heard = vec![0; text.len()];
    within(text, stream.read_exact(&mut heard)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&heard), text);
}

/// Completes once the other side is gone.
async fn sees_the_end(stream: &mut TcpStream) {
    let mut buffer = [0; 1024];
    // An end and a reset are both the end.
    while within("the end of the connection", stream.read(&mut buffer)).await.is_ok_and(|n| n > 0) {}
}

/// A request to `sandbox` that has arrived: the client's side and the side of the program inside.
async fn request(world: &World, sandbox: &Sandbox, line: &str, headers: &[&str]) -> (TcpStream, TcpStream) {
    let inside = world.inside(sandbox).await;
    let mut client = TcpStream::connect(world.serve().await).await.unwrap();
    let mut text = format!("{line} HTTP/1.1\r\nhost: {PORT}-{}.localhost\r\n", sandbox.id);
    for header in headers {
        write!(text, "{header}\r\n").unwrap();
    }
    text += "\r\n";
    say(&mut client, &text).await;
    let (program, _) = within("a connection inside", inside.accept()).await.unwrap();
    (client, program)
}

#[tokio::test]
async fn an_upgrade_passes_and_each_half_ends_by_itself() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    let headers = ["connection: Upgrade", "upgrade: echo"];
    let (mut client, mut program) = request(&world, &sandbox, "GET /ws", &headers).await;
    let asked = head(&mut program).await;
    assert!(asked.contains("upgrade: echo") && asked.contains("connection: upgrade"), "{asked}");
    say(&mut program, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
        .await;
    assert!(head(&mut client).await.starts_with("http/1.1 101 "));
    say(&mut client, "ping").await;
    hears(&mut program, "ping").await;
    say(&mut program, "pong").await;
    hears(&mut client, "pong").await;
    client.shutdown().await.unwrap();
    sees_the_end(&mut program).await;
    say(&mut program, "last words").await;
    drop(program);
    hears(&mut client, "last words").await;
    sees_the_end(&mut client).await;
}

#[tokio::test]
async fn a_websocket_is_over_when_the_program_has_closed_it() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    let headers = ["connection: Upgrade", "upgrade: WebSocket", "sec-websocket-key: x"];
    let (mut client, mut program) = request(&world, &sandbox, "GET /ws", &headers).await;
    head(&mut program).await;
    say(
        &mut program,
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    )
    .await;
    head(&mut client).await;
    say(&mut program, "closing").await;
    drop(program);
    hears(&mut client, "closing").await;
    sees_the_end(&mut client).await;
    // The client has ended nothing, and has nobody left to talk to.
    let gone = async {
        while client.write_all(b"still there?").await.is_ok() {
            // sleep: the pause between two tries
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("the connection is gone", gone).await;
}

#[tokio::test]
async fn a_switch_nobody_asked_for_is_no_answer() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    let (mut client, mut program) = request(&world, &sandbox, "GET /", &[]).await;
    head(&mut program).await;
    say(&mut program, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n").await;
    assert!(head(&mut client).await.starts_with("http/1.1 502 "));
}

#[tokio::test]
async fn what_is_said_so_far_arrives_before_the_rest_is_known() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    let (mut client, mut program) =
        request(&world, &sandbox, "POST /", &["transfer-encoding: chunked"]).await;
    head(&mut program).await;
    say(&mut client, "3\r\none\r\n").await;
    hears(&mut program, "3\r\none\r\n").await;
    say(&mut program, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nuno\r\n").await;
    head(&mut client).await;
    hears(&mut client, "3\r\nuno\r\n").await;
    say(&mut client, "3\r\ntwo\r\n0\r\n\r\n").await;
    hears(&mut program, "3\r\ntwo\r\n0\r\n\r\n").await;
    say(&mut program, "3\r\ndos\r\n0\r\n\r\n").await;
    hears(&mut client, "3\r\ndos\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    let headers = ["expect: 100-continue", "content-length: 5"];
    let (mut client, mut program) = request(&world, &sandbox, "POST /", &headers).await;
    assert!(head(&mut client).await.starts_with("http/1.1 100 "));
    say(&mut client, "hello").await;
    head(&mut program).await;
    hears(&mut program, "hello").await;
    say(&mut program, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").await;
    assert!(head(&mut client).await.starts_with("http/1.1 200 "));
    hears(&mut client, "done").await;
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    let headers = ["te: trailers", "connection: te", "trailer: x-sum", "transfer-encoding: chunked"];
    let (mut client, mut program) = request(&world, &sandbox, "POST /", &headers).await;
    let asked = head(&mut program).await;
    assert!(asked.contains("te: trailers") && asked.contains("trailer: x-sum"), "{asked}");
    say(&mut client, "1\r\na\r\n0\r\nx-sum: 1\r\n\r\n").await;
    hears(&mut program, "1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n").await;
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n";
    say(&mut program, &format!("{answer}1\r\nb\r\n0\r\nx-sum: 2\r\n\r\n")).await;
    assert!(head(&mut client).await.contains("trailer: x-sum"));
    hears(&mut client, "1\r\nb\r\n0\r\nX-Sum: 2\r\n\r\n").await;
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_connection_inside_along() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    // While the program still thinks.
    let (client, mut program) = request(&world, &sandbox, "GET /slow", &[]).await;
    head(&mut program).await;
    drop(client);
    sees_the_end(&mut program).await;
    // While the client still sends.
    let headers = ["content-length: 1000"];
    let (mut client, mut program) = request(&world, &sandbox, "POST /half", &headers).await;
    head(&mut program).await;
    say(&mut client, "some").await;
    hears(&mut program, "some").await;
    drop(client);
    sees_the_end(&mut program).await;
    // In the middle of an answer in which nothing happens.
    let (mut client, mut program) = request(&world, &sandbox, "GET /stream", &[]).await;
    head(&mut program).await;
    say(&mut program, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").await;
    head(&mut client).await;
    hears(&mut client, "3\r\none\r\n").await;
    drop(client);
    sees_the_end(&mut program).await;
}

#[tokio::test]
async fn a_program_that_goes_away_ends_the_answer() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    let (mut client, mut program) = request(&world, &sandbox, "GET /", &[]).await;
    head(&mut program).await;
    say(&mut program, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    head(&mut client).await;
    hears(&mut client, "half").await;
    drop(program);
    sees_the_end(&mut client).await;
    let (mut client, program) = request(&world, &sandbox, "GET /", &[]).await;
    drop(program);
    assert!(head(&mut client).await.starts_with("http/1.1 502 "));
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused_and_those_of_the_agent_are_counted_apart() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    let inside = world.inside(&sandbox).await;
    let outside = world.serve().await;
    let text = format!("GET / HTTP/1.1\r\nhost: {PORT}-{}.localhost\r\n\r\n", sandbox.id);
    let mut held = Vec::new();
    for _ in 0..sandscope_edge::MAX_CONNECTIONS {
        let mut client = TcpStream::connect(outside).await.unwrap();
        say(&mut client, &text).await;
        held.push((client, within("a connection inside", inside.accept()).await.unwrap().0));
    }
    let (status, body) = world.get(sandbox.id.as_str(), PORT, "/").await;
    assert_eq!(status, 429);
    assert_eq!(body["connectionLimit"], 512);
    assert!(body["message"].as_str().unwrap().ends_with("(limit: 512)"), "{body}");
    assert_eq!(world.get(sandbox.id.as_str(), 49983, "/").await.0, 200);
    held.pop();
    // Room as soon as the edge has seen the client go.
    let room = async {
        let mut client = TcpStream::connect(outside).await.unwrap();
        loop {
            say(&mut client, &text).await;
            let answered = tokio::select! {
                accepted = inside.accept() => return accepted.unwrap(),
                answer = head(&mut client) => answer,
            };
            assert!(answered.starts_with("http/1.1 429 "), "{answered}");
            client = TcpStream::connect(outside).await.unwrap();
            // sleep: the pause between two tries
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("room for one more", room).await;
}

#[tokio::test]
async fn memory_does_not_grow_with_what_is_carried() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    let length = format!("content-length: {LARGE}");
    let (mut client, mut program) = request(&world, &sandbox, "POST /large", &[&length]).await;
    head(&mut program).await;
    let before = peak();
    let chunk = vec![7; 1 << 16];
    carry(&mut client, &mut program, &chunk).await;
    say(&mut program, &format!("HTTP/1.1 200 OK\r\n{length}\r\n\r\n")).await;
    head(&mut client).await;
    carry(&mut program, &mut client, &chunk).await;
    let grown = peak() - before;
    assert!(grown < GROWTH, "{} MiB more at the most, for {} MiB carried twice", grown >> 20, LARGE >> 20);
}

/// Sends [`LARGE`] bytes from one side to the other, which checks their number.
async fn carry(from: &mut TcpStream, to: &mut TcpStream, chunk: &[u8]) {
    let send = async {
        for _ in 0..LARGE / chunk.len() as u64 {
            from.write_all(chunk).await.unwrap();
        }
    };
    let receive = async {
        let mut buffer = vec![0; 1 << 16];
        let mut left = LARGE;
        while left > 0 {
            let n = to.read(&mut buffer).await.unwrap();
            assert!(n > 0, "{left} bytes are missing");
            left -= n as u64;
        }
    };
    tokio::time::timeout(Duration::from_secs(300), async { tokio::join!(send, receive) }).await.unwrap();
}

/// The most memory this process ever had at once, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() << 10
}

#[tokio::test]
async fn names_of_headers_keep_their_letters_both_ways() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    let headers = ["X-Mixed-cASE: 1", "content-LENGTH: 02"];
    let (mut client, mut program) = request(&world, &sandbox, "POST /", &headers).await;
    say(&mut client, "ab").await;
    assert_eq!(names(&mut program).await, ["host", "X-Mixed-cASE", "content-LENGTH"]);
    say(&mut program, "HTTP/1.1 200 OK\r\nset-COOKIE: a=1\r\nSet-Cookie: b=2\r\nETag: 1\r\n\r\n").await;
    let wanted = ["set-COOKIE", "Set-Cookie", "ETag", "X-Accel-Buffering", "Transfer-Encoding", "Date"];
    let mut found = names(&mut client).await;
    found.sort_by_key(|name| wanted.iter().position(|it| it == name));
    assert_eq!(found, wanted, "what is added is written as HTTP/1.1 writes it");
}

#[tokio::test]
async fn names_that_came_without_capitals_of_their_own_get_them() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    let inside = world.inside(&sandbox).await;
    // As over HTTP/2: the host is in the address, and nobody knows of other letters.
    let request = http::Request::get(format!("https://{PORT}-{}.localhost/", sandbox.id))
        .version(http::Version::HTTP_2)
        .header("x-mine", "1")
        .header("user-agent", "me")
        .body(axum::body::Body::empty())
        .unwrap();
    let _asked = tokio::spawn(tower::ServiceExt::oneshot(world.router.clone(), request));
    let (mut program, _) = within("a connection inside", inside.accept()).await.unwrap();
    assert_eq!(names(&mut program).await, ["X-Mine", "User-Agent", "Host"]);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_the_sandboxs_fault() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    let (mut client, mut program) =
        request(&world, &sandbox, "POST /", &["transfer-encoding: chunked"]).await;
    say(&mut client, "2\r\nab\r\n").await;
    head(&mut program).await;
    say(&mut client, "no chunk\r\n").await;
    let answer = head(&mut client).await;
    assert!(answer.starts_with("http/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn what_is_not_sent_has_the_length_that_the_program_says_or_none() {
    let world = World::new(echo()).await;
    let sandbox = world.sandbox(None, false).await;
    for (method, answer, length) in [
        ("HEAD", "200 OK\r\netag: x\r\ntransfer-encoding: chunked", None),
        ("HEAD", "200 OK\r\ncontent-length: 124", Some("content-length: 124")),
        ("HEAD", "304 Not Modified\r\netag: x", None),
        ("GET", "304 Not Modified\r\netag: x", None),
        ("GET", "200 OK\r\ncontent-length: 0", Some("content-length: 0")),
    ] {
        let (mut client, mut program) = request(&world, &sandbox, &format!("{method} /"), &[]).await;
        head(&mut program).await;
        say(&mut program, &format!("HTTP/1.1 {answer}\r\n\r\n")).await;
        let heard = head(&mut client).await;
        let told = heard.lines().find(|line| line.starts_with("content-length"));
        assert_eq!(told, length, "{method}: {answer}");
    }
}
