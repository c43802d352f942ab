//! Requests that are answered before they were read to their end.
//!
//! The connection of such a request cannot be used again. hyper closes it after the answer without saying so, and a
//! client that keeps connections learns of it from its next request, which breaks. So what is left of the request is
//! taken in before the answer goes out, where that is little and comes soon; where it is not, the answer says that the
//! connection ends with it. HTTP/2 has no such trouble: its streams end one by one.
//!
//! Who still reads the request while the answer goes out, as whoever forwards it may, is left alone.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Version};
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// What is taken in of a request that nobody read.
const MAX_BYTES: usize = 1024 * 1024;
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Leaves the connection fit for the next request, or says that it ends.
pub(crate) async fn settle(request: Request, next: Next) -> Response {
    if request.version() > Version::HTTP_11 || request.body().is_end_stream() {
        return next.run(request).await;
    }
    // Reading would tell the client to go on with what nobody wants.
    let waits = request.headers().contains_key(EXPECT);
    let left = Left::default();
    let (head, body) = request.into_parts();
    let body = Body::new(Given { body: Some(body), left: Arc::clone(&left) });
    let mut response = next.run(Request::from_parts(head, body)).await;
    let unread = left.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(mut body) = unread
        && (waits || !tokio::time::timeout(MAX_WAIT, take_in(&mut body)).await.unwrap_or(false))
    {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether it came to its end.
async fn take_in(body: &mut Body) -> bool {
    let mut left = MAX_BYTES;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return false,
        }
    }
    true
}

/// A body that was dropped before its end.
type Left = Arc<Mutex<Option<Body>>>;

/// A body that comes back when it is dropped before its end.
struct Given {
    body: Option<Body>,
    left: Left,
}

impl HttpBody for Given {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}

#[cfg(test)]
mod tests {
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
        client
            .write_all(b"POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345")
            .await
            .unwrap();
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
        client
            .write_all(b"POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345")
            .await
            .unwrap();
        let refused = answer(&mut client, "no").await;
        assert!(refused.contains("connection: close"), "{refused}");
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
    async fn a_large_one_is_not_taken_in_whole() {
        let mut client = connect();
        let length = 2 * MAX_BYTES;
        let head = format!("POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(client);
        let written = tokio::spawn(async move { writer.write_all(&vec![0; length]).await.is_ok() });
        let mut text = String::new();
        reader.read_to_string(&mut text).await.unwrap();
        assert!(text.contains("connection: close"), "{text}");
        assert!(!written.await.unwrap());
    }
}
