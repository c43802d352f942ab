//! A webhook receiver as a user would write it: it trusts nothing but the signature.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Larger than any event.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// The newest deliveries kept in memory.
const MAX_DELIVERIES: usize = 10_000;

/// What arrived.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Whether the signature was right.
    pub valid: bool,
    /// When its last byte arrived, by the machine's clock.
    pub received_at: jiff::Timestamp,
}

/// A listening receiver; dropping it stops it.
pub struct Receiver {
    url: String,
    inbox: Arc<Inbox>,
    _listening: AbortOnDropHandle<()>,
}

struct Inbox {
    secret: String,
    by_event: Mutex<BTreeMap<String, Delivery>>,
    n_received: watch::Sender<usize>,
}

impl Receiver {
    /// Listens on a free loopback port for deliveries signed with `secret`.
    ///
    /// # Errors
    /// What the system says if no port can be bound.
    pub async fn start(secret: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/webhook", listener.local_addr()?);
        let inbox = Arc::new(Inbox {
            secret: secret.to_owned(),
            by_event: Mutex::default(),
            n_received: watch::Sender::new(0),
        });
        let listening = AbortOnDropHandle::new(tokio::spawn(listen(listener, Arc::clone(&inbox))));
        Ok(Self { url, inbox, _listening: listening })
    }

    /// Where deliveries go.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The delivery of event `id`, if it came.
    pub fn delivery(&self, id: &str) -> Option<Delivery> {
        self.inbox.kept().get(id).cloned()
    }

    /// How many deliveries came, and how many of them with a wrong signature.
    pub fn tally(&self) -> (usize, usize) {
        let kept = self.inbox.kept();
        (kept.len(), kept.values().filter(|delivery| !delivery.valid).count())
    }

    /// Waits until every event of `ids` came, at most `limit`. Whether they did.
    pub async fn wait_for(&self, ids: &[String], limit: Duration) -> bool {
        let mut arrivals = self.inbox.n_received.subscribe();
        let complete = async {
            while !ids.iter().all(|id| self.inbox.kept().contains_key(id)) {
                if arrivals.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(limit, complete).await.is_ok()
    }
}

impl Inbox {
    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Delivery>> {
        self.by_event.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, headers: &HeaderMap, body: &[u8]) -> StatusCode {
        let received_at = jiff::Timestamp::now();
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let valid = header("e2b-signature-version") == Some("v1")
            && header("e2b-signature") == Some(signature(&self.secret, body).as_str())
            && header("e2b-webhook-id").is_some()
            && header("e2b-delivery-id").is_some();
        let Ok(event) = serde_json::from_slice::<Value>(body) else { return StatusCode::BAD_REQUEST };
        let Some(id) = event["id"].as_str() else { return StatusCode::BAD_REQUEST };
        {
            let mut kept = self.kept();
            if kept.len() >= MAX_DELIVERIES {
                kept.pop_first();
            }
            // An event may come twice; the first arrival counts.
            kept.entry(id.to_owned()).or_insert(Delivery { valid, received_at });
        }
        self.n_received.send_modify(|n| *n += 1);
        if valid { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
    }
}

/// What the product description's own function computes: SHA-256 over secret and raw body, in base64 without padding.
fn signature(secret: &str, body: &[u8]) -> String {
    STANDARD_NO_PAD.encode(Sha256::new().chain_update(secret.as_bytes()).chain_update(body).finalize())
}

async fn listen(listener: TcpListener, inbox: Arc<Inbox>) {
    while let Ok((socket, _)) = listener.accept().await {
        let inbox = Arc::clone(&inbox);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&inbox)));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(30))
                .serve_connection(TokioIo::new(socket), service);
            // A sender that breaks off tries again; there is nobody to report to.
            let _ = connection.await;
        });
    }
}

async fn answer(request: Request<Incoming>, inbox: Arc<Inbox>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let status = match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(body) => inbox.take(&head.headers, &body.to_bytes()),
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE,
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "secret-for-event-signature-verification";

    #[test]
    fn the_signature_is_the_published_one() {
        assert_eq!(signature(SECRET, br#"{"n":1}"#), "cDhKBdB/dZNZKz8+KY5XNS65ZjlAkBXLe1gSAjycGVw");
    }

    #[tokio::test]
    async fn a_wrong_signature_is_kept_as_such_and_refused() {
        let receiver = Receiver::start(SECRET).await.unwrap();
        let body = br#"{"id":"e1","type":"sandbox.lifecycle.created"}"#;
        let mut headers = HeaderMap::new();
        headers.insert("e2b-signature-version", "v1".parse().unwrap());
        headers.insert("e2b-webhook-id", "w".parse().unwrap());
        headers.insert("e2b-delivery-id", "d".parse().unwrap());
        headers.insert("e2b-signature", signature("another", body).parse().unwrap());
        assert_eq!(receiver.inbox.take(&headers, body), StatusCode::UNAUTHORIZED);
        assert_eq!(receiver.tally(), (1, 1));
        assert_eq!(receiver.inbox.take(&headers, b"not json"), StatusCode::BAD_REQUEST);
        assert!(receiver.wait_for(&["e1".to_owned()], Duration::from_secs(10)).await);
        assert!(!receiver.wait_for(&["e2".to_owned()], Duration::ZERO).await);
    }
}
