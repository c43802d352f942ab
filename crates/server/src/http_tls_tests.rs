use std::path::Path;

use axum::body::Body;
use axum::extract::Request;
use axum::routing::{any, get};
use http::{Method, StatusCode, Version};
use http_body_util::BodyExt as _;
use hyper::client::conn::{http1, http2};
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use sandscope_config::TlsFiles;
use sandscope_operator::certificate;

const BOUND: Duration = Duration::from_secs(30);

/// Writes a new certificate to `directory`; the authority to trust.
fn certificate(directory: &Path) -> (TlsFiles, String) {
    let made = certificate::make("e2b.localhost", jiff::Timestamp::now(), 30).unwrap();
    let files = TlsFiles { cert: directory.join("cert.pem"), key: directory.join("key.pem") };
    std::fs::write(&files.cert, &made.cert).unwrap();
    std::fs::write(&files.key, &made.key).unwrap();
    (files, made.ca)
}

struct World {
    http: Http,
    tls: Tls,
    ca: String,
    directory: tempfile::TempDir,
}

impl World {
    async fn new(router: Router, limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (files, ca) = certificate(directory.path());
        let tls = Tls::load(&files).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let watched = sandscope_tasks::Tasks::new(sandscope_system::SystemClock);
        let http =
            Http::start(("listener", &watched), listener, router, limits, Vec::new(), Some(&tls)).unwrap();
        Self { http, tls, ca, directory }
    }

    async fn connect(&self, name: &str, alpn: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let socket = TcpStream::connect(self.http.address()).await?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        tokio::time::timeout(BOUND, TlsConnector::from(Arc::new(config)).connect(name, socket)).await.unwrap()
    }

    async fn http2(&self) -> http2::SendRequest<Body> {
        let stream = self.connect("api.e2b.localhost", &[b"h2", b"http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

const fn limits(max_connections: usize, header_timeout_ms: u64) -> Limits {
    Limits {
        max_connections,
        max_keyless: max_connections,
        header_timeout: Duration::from_millis(header_timeout_ms),
    }
}

fn version() -> Router {
    let handler = |request: Request| async move {
        format!("{:?} {}", request.version(), request.uri().authority().map_or("-", |name| name.as_str()))
    };
    Router::new().route("/", any(handler))
}

async fn text(response: http::Response<hyper::body::Incoming>) -> String {
    let body = tokio::time::timeout(BOUND, response.into_body().collect()).await.unwrap().unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

fn ask(uri: &str) -> Request {
    Request::get(uri).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn the_client_chooses_the_version_and_every_local_name_is_in_the_certificate() {
    let world = World::new(version(), limits(8, 30_000)).await;
    let mut sender = world.http2().await;
    let response = sender.send_request(ask("https://api.e2b.localhost/")).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(text(response).await, "HTTP/2.0 api.e2b.localhost");
    for (name, alpn) in [
        ("localhost", &[&b"http/1.1"[..]][..]),
        ("49983-i0123456789abcdefghij.e2b.localhost", &[]),
        ("e2b.localhost", &[]),
        ("127.0.0.1", &[]),
        ("::1", &[]),
    ] {
        let stream = world.connect(name, alpn).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let response = sender.send_request(ask("/")).await.unwrap();
        assert_eq!(text(response).await, "HTTP/1.1 -", "{name}");
    }
    assert!(world.connect("elsewhere.example", &[]).await.is_err());
    assert_eq!(world.tls.missing(&["x.e2b.localhost".into(), "x.y".into()]), ["x.y"]);
}

#[tokio::test]
async fn a_certificate_read_again_is_what_new_connections_get() {
    let mut world = World::new(version(), limits(8, 30_000)).await;
    let mut kept = world.http2().await;
    let before = std::mem::take(&mut world.ca);
    (_, world.ca) = certificate(world.directory.path());
    assert!(world.connect("localhost", &[]).await.is_err(), "not read yet");
    world.tls.reload().unwrap();
    world.connect("localhost", &[]).await.unwrap();
    assert_eq!(text(kept.send_request(ask("https://localhost/")).await.unwrap()).await, "HTTP/2.0 localhost");
    // A key that is not the certificate's changes nothing.
    let other = certificate::make("x", jiff::Timestamp::now(), 1).unwrap();
    std::fs::write(world.directory.path().join("key.pem"), other.key).unwrap();
    let error = world.tls.reload().unwrap_err().to_string();
    assert!(error.contains("is not the key of"), "{error}");
    std::fs::write(world.directory.path().join("cert.pem"), "nothing").unwrap();
    assert!(world.tls.reload().unwrap_err().to_string().contains("holds no certificate"));
    world.connect("localhost", &[]).await.unwrap();
    world.ca = before;
    assert!(world.connect("localhost", &[]).await.is_err());
}

#[tokio::test]
async fn plain_http_is_told_to_speak_https() {
    let world = World::new(version(), limits(8, 30_000)).await;
    let mut socket = TcpStream::connect(world.http.address()).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 400];
    let n = tokio::time::timeout(BOUND, socket.read(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..n]).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400"), "{answer}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert!(body["message"].as_str().unwrap().contains("https://"), "{answer}");
}

#[tokio::test]
async fn silent_peers_lose_their_place_before_and_after_the_handshake() {
    // One place only.
    let world = World::new(version(), limits(1, 100)).await;
    let _mute = TcpStream::connect(world.http.address()).await.unwrap();
    let mut sender = world.http2().await;
    text(sender.send_request(ask("https://localhost/")).await.unwrap()).await;
    // The connection is idle and kept by its client.
    let mut second = world.http2().await;
    text(second.send_request(ask("https://localhost/")).await.unwrap()).await;
    let gone = async {
        while sender.ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, gone).await.unwrap();
}

#[tokio::test]
async fn a_long_answer_is_not_taken_for_idleness() {
    let handler = || async {
        // sleep: an answer that takes long
        tokio::time::sleep(Duration::from_millis(400)).await;
        let (sender, receiver) = tokio::sync::mpsc::channel::<&'static str>(1);
        tokio::spawn(async move {
            for part in ["a", "b"] {
                sender.send(part).await.unwrap();
                // sleep: an answer that takes long
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
        });
        Body::new(Parts(receiver))
    };
    let world = World::new(Router::new().route("/", get(handler)), limits(8, 100)).await;
    let mut sender = world.http2().await;
    let response = sender.send_request(ask("https://localhost/")).await.unwrap();
    assert_eq!(text(response).await, "ab");
}

struct Parts(tokio::sync::mpsc::Receiver<&'static str>);

impl hyper::body::Body for Parts {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<bytes::Bytes>, Self::Error>>> {
        let part = self.0.poll_recv(context);
        part.map(|part| {
            part.map(|part| Ok(hyper::body::Frame::data(bytes::Bytes::from_static(part.as_bytes()))))
        })
    }
}

#[tokio::test]
async fn a_large_head_is_refused_over_http2_as_well() {
    let world = World::new(version(), limits(8, 30_000)).await;
    let mut sender = world.http2().await;
    let request =
        Request::get("https://localhost/").header("x-large", "x".repeat(MAX_HEAD_BYTES)).body(Body::empty());
    let response = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert!(!response.headers().contains_key("connection"));
    assert!(text(response).await.contains(r#""code":431"#));
    let many = (0..=MAX_HEADERS)
        .fold(Request::get("https://localhost/"), |request, n| request.header(format!("x-{n}"), "1"));
    let response = sender.send_request(many.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test]
async fn a_websocket_in_an_http2_stream_lives_longer_than_an_idle_connection() {
    let handler = |mut request: Request| async move {
        if request.method() != Method::CONNECT {
            return StatusCode::NO_CONTENT;
        }
        assert_eq!(request.extensions().get::<Protocol>().unwrap().as_str(), "websocket");
        let upgrade = hyper::upgrade::on(&mut request);
        // As the edge does: what is tied to the request is kept with the connection.
        let tied = request.extensions().clone();
        tokio::spawn(async move {
            let _tied = tied;
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
            tokio::io::copy(&mut read, &mut write).await
        });
        StatusCode::OK
    };
    let world = World::new(Router::new().fallback(handler), limits(8, 100)).await;
    let mut sender = world.http2().await;
    // The server says that it can before its first answer.
    let first = sender.send_request(ask("https://localhost/")).await.unwrap();
    assert_eq!(first.status(), StatusCode::NO_CONTENT);
    let request = Request::connect("https://localhost/ws")
        .extension(Protocol::from_static("websocket"))
        .body(Body::empty())
        .unwrap();
    let mut response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut tunnel = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    for _ in 0..3 {
        // sleep: longer than an idle connection is kept
        tokio::time::sleep(Duration::from_millis(300)).await;
        tunnel.write_all(b"ping").await.unwrap();
        let mut pong = [0; 4];
        tokio::time::timeout(BOUND, tunnel.read_exact(&mut pong)).await.unwrap().unwrap();
        assert_eq!(&pong, b"ping");
    }
}
