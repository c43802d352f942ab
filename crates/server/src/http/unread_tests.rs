use axum::Router;
use axum::routing::post;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;

/// A connection to a server that refuses without reading, or reads all.
fn connect() -> DuplexStream {
    let router = Router::new()
        .route("/refuse", post(async || "no"))
        .route("/read", post(async |body: Bytes| body.len().to_string()))
        .layer(axum::middleware::from_fn(settle));
    let (client, server) = tokio::io::duplex(16 * 1024);
    let service = TowerToHyperService::new(router);
    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(server), service));
    client
}

async fn answer(client: &mut DuplexStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let mut buffer = [0; 1024];
        let count = client.read(&mut buffer).await.unwrap();
        assert_ne!(count, 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    text
}

#[tokio::test]
async fn the_connection_serves_the_next_request_after_one_that_nobody_read() {
    let mut client = connect();
    client.write_all(b"POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345").await.unwrap();
    // The rest comes once the refusal is decided; were the connection closed by then, this would fail.
    tokio::task::yield_now().await;
    client.write_all(b"67890").await.unwrap();
    let refused = answer(&mut client, "no").await;
    assert!(!refused.to_lowercase().contains("connection: close"), "{refused}");
    client.write_all(b"POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc").await.unwrap();
    assert!(answer(&mut client, "\r\n\r\n3").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn one_that_does_not_come_to_its_end_ends_the_connection_and_says_so() {
    let mut client = connect();
    client.write_all(b"POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345").await.unwrap();
    let refused = answer(&mut client, "no").await;
    assert!(refused.contains("connection: close"), "{refused}");
    // Nothing more comes, so nothing is waited for.
    client.shutdown().await.unwrap();
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn who_asks_before_sending_is_refused_at_once() {
    let mut client = connect();
    let head = b"POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n";
    client.write_all(head).await.unwrap();
    let refused = answer(&mut client, "no").await;
    assert!(refused.starts_with("HTTP/1.1 200") && refused.contains("connection: close"), "{refused}");
}

#[tokio::test]
async fn a_large_one_is_answered_first_and_the_rest_does_not_reset_the_connection() {
    let mut client = connect();
    let length = 2 * MAX_BYTES;
    let head = format!("POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(client);
    let written = tokio::spawn(async move { writer.write_all(&vec![0; length]).await.is_ok() });
    let mut text = String::new();
    reader.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("connection: close"), "{text}");
    assert!(written.await.unwrap());
}
