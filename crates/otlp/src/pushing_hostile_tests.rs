//! A collector that means harm: it costs neither time nor memory, and no event.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{LIMIT, World};
use sandscope_model::Signal;

/// Reads a whole request.
async fn read_request(stream: &mut TcpStream) {
    let mut bytes = Vec::new();
    loop {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
            let (_, length) = text.split_once("content-length: ").unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if bytes.len() >= head + 4 + length {
                return;
            }
        }
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_hostile_collector_takes_neither_time_nor_memory_and_costs_no_event() {
    let mut world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let deadline = Duration::from_millis(500);
    let otlp = world.export_within(deadline, &url, &[Signal::Events]).await;
    world.happen(1).await;
    let answers = async {
        for answer in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhalf",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/v1/logs\r\ncontent-length: 0\r\n\r\n",
            "nonsense\r\n\r\n",
        ] {
            let mut stream = listener.accept().await.unwrap().0;
            read_request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            let is_endless = answer.ends_with("chunked\r\n\r\n");
            // Until the other side has had enough.
            while is_endless && stream.write_all(b"400\r\n").await.is_ok() {
                if stream.write_all(&[b'x'; 1024]).await.is_err() || stream.write_all(b"\r\n").await.is_err()
                {
                    break;
                }
            }
            if !answer.starts_with("HTTP/1.1 302") && !is_endless {
                assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0, "it goes away by itself: {answer}");
            }
        }
        let mut stream = listener.accept().await.unwrap().0;
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        while world.stats.counts(Signal::Events).n_sent == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, world.pass(answers)).await.unwrap();
    otlp.drain(LIMIT).await;
    let counts = world.stats.counts(Signal::Events);
    assert_eq!((counts.n_sent, counts.n_failed, counts.n_rejected, counts.n_dropped), (1, 6, 0, 0));
}
