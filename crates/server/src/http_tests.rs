use axum::routing::{get, post};
use sandscope_api::{KeyShown, RemoteAddress};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::*;

const BOUND: Duration = Duration::from_secs(10);

async fn start(router: Router, limits: Limits) -> Http {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let watched = Tasks::new(sandscope_system::SystemClock);
    Http::start(("listener", &watched), listener, router, limits, Vec::new(), None).unwrap()
}

const fn limits(max_connections: usize, header_timeout_ms: u64) -> Limits {
    Limits {
        max_connections,
        max_keyless: max_connections,
        header_timeout: Duration::from_millis(header_timeout_ms),
    }
}

async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(BOUND, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_in_the_apis_words() {
    let http = start(Router::new().route("/", get(async || "fine")), limits(8, 10_000)).await;
    let request = |head: &str| format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n");
    assert!(exchange(http.address(), &request("")).await.ends_with("fine"));
    let large = format!("X-Large: {}\r\n", "x".repeat(MAX_HEAD_BYTES));
    let answer = exchange(http.address(), &request(&large)).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert!(answer.contains(r#""code":431"#), "{answer}");
    let many = |n_headers: usize| (0..n_headers).map(|n| format!("X-{n}: 1\r\n")).collect::<String>();
    assert!(exchange(http.address(), &request(&many(MAX_HEADERS - 2))).await.ends_with("fine"));
    let answer = exchange(http.address(), &request(&many(MAX_HEADERS))).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert!(answer.contains(r#""code":431"#), "{answer}");
}

#[tokio::test]
async fn a_body_in_a_coding_that_nobody_undoes_is_refused() {
    let http = start(Router::new().route("/", post(async |body: String| body)), limits(8, 10_000)).await;
    let request = |coding: &str| {
        format!("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{coding}\r\n\r\n2\r\nab\r\n0\r\n\r\n")
    };
    for coding in ["Transfer-Encoding: chunked", "transfer-encoding: Chunked"] {
        assert!(exchange(http.address(), &request(coding)).await.ends_with("ab"), "{coding}");
    }
    for coding in
        ["Transfer-Encoding: gzip, chunked", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"]
    {
        let answer = exchange(http.address(), &request(coding)).await;
        assert!(answer.starts_with("HTTP/1.1 501") && answer.contains(r#""code":501"#), "{coding}: {answer}");
    }
}

#[tokio::test]
async fn names_of_headers_are_written_as_http_1_writes_them() {
    let http = start(Router::new().route("/", get(async || "fine")), limits(8, 10_000)).await;
    let answer = exchange(http.address(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    let names: Vec<_> = answer.lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    assert!(names.contains(&"Content-Type") && names.contains(&"Content-Length"), "{answer}");
}

/// Connections from `address`, which say nothing.
async fn silent(from: &str, to: SocketAddr, n: usize) -> Vec<TcpStream> {
    let mut silent = Vec::new();
    for _ in 0..n {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
        silent.push(socket.connect(to).await.unwrap());
    }
    silent
}

const QUESTION: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn whoever_shows_no_key_does_not_keep_others_out() {
    // A head may take far longer than this test: nobody's place becomes free by itself.
    let limits = Limits { max_keyless: 8, ..limits(16, 600_000) };
    let http = start(Router::new().route("/", get(async || "fine")), limits).await;
    let one = silent("127.0.0.2", http.address(), 40).await;
    assert!(exchange(http.address(), QUESTION).await.ends_with("fine"));
    // Nor do many addresses together.
    let mut many = Vec::new();
    for n in 3..13 {
        many.extend(silent(&format!("127.0.0.{n}"), http.address(), 4).await);
    }
    assert!(exchange(http.address(), QUESTION).await.ends_with("fine"));
    drop((one, many));
}

#[tokio::test]
async fn whoever_has_shown_a_key_and_what_is_under_way_are_left_alone() {
    let (entered, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (signal, wait) = (Arc::clone(&entered), Arc::clone(&go));
    let slow = async move || {
        signal.notify_one();
        wait.notified().await;
        "done"
    };
    let known = async |axum::Extension(shown): axum::Extension<KeyShown>| {
        shown.set();
        "known"
    };
    let router =
        Router::new().route("/", get(async || "fine")).route("/slow", get(slow)).route("/known", get(known));
    let http = start(router, Limits { max_keyless: 3, ..limits(16, 600_000) }).await;
    let mut kept = TcpStream::connect(http.address()).await.unwrap();
    let mut answer = [0; 512];
    kept.write_all(b"GET /known HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(kept.read(&mut answer).await.unwrap() > 0);
    let address = http.address();
    let under_way = tokio::spawn(async move { exchange(address, &QUESTION.replace("/ ", "/slow ")).await });
    entered.notified().await;
    let _silent = silent("127.0.0.1", http.address(), 20).await;
    assert!(exchange(http.address(), QUESTION).await.ends_with("fine"));
    go.notify_one();
    assert!(under_way.await.unwrap().ends_with("done"));
    kept.write_all(QUESTION.as_bytes()).await.unwrap();
    assert!(kept.read(&mut answer).await.unwrap() > 0, "ended though it had shown a key");
}

#[tokio::test]
async fn a_request_is_told_where_it_came_from() {
    let say =
        async |axum::Extension(RemoteAddress(address)): axum::Extension<RemoteAddress>| address.to_string();
    let http = start(Router::new().route("/", get(say)), limits(8, 10_000)).await;
    let request = "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n";
    assert!(exchange(http.address(), request).await.ends_with("\r\n\r\n127.0.0.1"));
}

#[tokio::test]
async fn a_dripping_client_loses_its_place() {
    // One place only: the patient client is served once the dripping one is thrown out.
    let http = start(Router::new().route("/", get(async || "fine")), limits(1, 50)).await;
    let mut slow = TcpStream::connect(http.address()).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    let answer = exchange(http.address(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.ends_with("fine"), "{answer}");
}

#[tokio::test]
async fn a_drain_answers_what_is_under_way_and_accepts_nothing_new() {
    let (entered, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (signal, wait) = (Arc::clone(&entered), Arc::clone(&go));
    let handler = move || async move {
        signal.notify_one();
        wait.notified().await;
        "done"
    };
    let http = start(Router::new().route("/", get(handler)), limits(8, 10_000)).await;
    let address = http.address();
    let request = tokio::spawn(async move { exchange(address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await });
    entered.notified().await;
    let drain = tokio::spawn(async move { http.drain(BOUND).await });
    // The socket is closed once the drain has begun.
    tokio::time::timeout(BOUND, async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    go.notify_one();
    assert!(request.await.unwrap().ends_with("done"));
    tokio::time::timeout(BOUND, drain).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_drain_cuts_what_does_not_end() {
    let entered = Arc::new(Notify::new());
    let signal = Arc::clone(&entered);
    let handler = move || async move {
        signal.notify_one();
        std::future::pending::<&str>().await
    };
    let http = start(Router::new().route("/", get(handler)), limits(8, 10_000)).await;
    let mut socket = TcpStream::connect(http.address()).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    entered.notified().await;
    tokio::time::timeout(BOUND, http.drain(Duration::from_millis(20))).await.unwrap();
}

#[tokio::test]
async fn whoever_comes_new_gets_the_place_of_one_that_only_keeps_its_connection() {
    // Each may keep its place for ten minutes.
    let http = start(Router::new().route("/", get(async || "fine")), limits(16, 600_000)).await;
    let mut kept = Vec::new();
    for _ in 0..40 {
        let mut socket = TcpStream::connect(http.address()).await.unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 15];
        tokio::time::timeout(BOUND, socket.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        kept.push(socket);
    }
}

#[tokio::test]
async fn who_is_refused_while_still_writing_hears_why() {
    let refuse = async || (http::StatusCode::FORBIDDEN, "not you");
    let http = start(Router::new().route("/", axum::routing::post(refuse)), limits(8, 10_000)).await;
    let mut socket = TcpStream::connect(http.address()).await.unwrap();
    let length = 16 << 20;
    let head = format!("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    let writing = async {
        socket.write_all(head.as_bytes()).await.unwrap();
        let chunk = vec![0; 1 << 16];
        for _ in 0..length / chunk.len() {
            socket.write_all(&chunk).await.unwrap();
        }
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::time::timeout(BOUND, writing).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.ends_with("not you"), "{answer}");
}

#[tokio::test]
async fn who_asks_before_writing_is_refused_without_being_told_to_go_on() {
    let refuse = async || (http::StatusCode::FORBIDDEN, "not you");
    let http = start(Router::new().route("/", axum::routing::post(refuse)), limits(8, 10_000)).await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    let answer = exchange(http.address(), head).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.ends_with("not you"), "{answer}");
}
