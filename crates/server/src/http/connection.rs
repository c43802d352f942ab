//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ipnet::IpNet;
use sandscope_api::{Hangup, RemoteAddress};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::Limits;
use super::activity::{Activity, while_sending};
use super::head::{MAX_READ_BYTES, MAX_READ_HEADERS};
use super::keyless::Place;
use super::remote;
use super::tls::HTTP_2;

/// Requests under way at once on one HTTP/2 connection: as many as one sandbox takes connections.
const MAX_STREAMS: u32 = 512;

/// What a peer may send ahead, in all and in one stream, and what is kept ready for it, in bytes: how much memory a
/// slow reader on either side can bind.
const CONNECTION_WINDOW: u32 = 4 << 20;
const STREAM_WINDOW: u32 = 1 << 20;
const SEND_BUFFER: usize = 256 << 10;

/// How often a silent HTTP/2 peer is asked whether it is still there, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_LIMIT: Duration = Duration::from_secs(20);

/// First byte of every TLS handshake.
const TLS_HANDSHAKE: u8 = 22;

/// The answer to a client that speaks plain HTTP where TLS is spoken.
const SPEAK_TLS: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n\
    {\"code\":400,\"message\":\"This server speaks HTTPS: use an https:// address\"}";

/// What every connection of a socket shares.
#[derive(Clone)]
pub(super) struct Connections {
    pub(super) router: Router,
    pub(super) limits: Limits,
    pub(super) trusted_proxies: Arc<[IpNet]>,
    pub(super) tls: Option<TlsAcceptor>,
    /// Cancelled: finish what is under way, take nothing new.
    pub(super) stop: CancellationToken,
    /// Cancelled: end now.
    pub(super) abort: CancellationToken,
    /// Changes when places are few.
    pub(super) crowded: watch::Receiver<()>,
}

impl Connections {
    pub(super) async fn serve(self, socket: TcpStream, peer: SocketAddr, place: Place) {
        let activity = Activity::new(place);
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, %peer, "cannot set TCP_NODELAY");
        }
        let Some(tls) = &self.tls else {
            return self.http1(TokioIo::new(socket), peer, activity).await;
        };
        let limit = self.limits.header_timeout;
        let secured = tokio::select! {
            secured = tokio::time::timeout(limit, secure(tls, socket)) => secured,
            () = self.stop.cancelled() => return,
            () = activity.ended() => return,
        };
        match secured {
            Ok(Ok(stream)) => {
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
                let io = TokioIo::new(stream);
                if is_http2 {
                    self.http2(io, peer, activity).await;
                } else {
                    self.http1(io, peer, activity).await;
                }
            }
            Ok(Err(error)) => tracing::debug!(%error, %peer, "no TLS"),
            Err(_) => tracing::debug!(%peer, "too slow to agree on TLS"),
        }
    }

    async fn http1(
        self,
        io: impl Read + Write + Unpin + Send + 'static,
        peer: SocketAddr,
        activity: Activity,
    ) {
        let service = self.service(&activity, peer.ip());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_buf_size(MAX_READ_BYTES)
            .max_headers(MAX_READ_HEADERS)
            // Programs, and clients of old, may go by the letters of a header's name.
            .preserve_header_case(true)
            .title_case_headers(true)
            .serve_connection(io, service)
            .with_upgrades();
        // The time for a head bounds its rest as well.
        self.run(connection, &activity, std::future::pending, peer).await;
    }

    async fn http2(
        self,
        io: impl Read + Write + Unpin + Send + 'static,
        peer: SocketAddr,
        activity: Activity,
    ) {
        let service = self.service(&activity, peer.ip());
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_LIMIT)
            .max_concurrent_streams(MAX_STREAMS)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_stream_window_size(STREAM_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(MAX_READ_BYTES as u32)
            .enable_connect_protocol()
            .serve_connection(io, service);
        let limit = self.limits.header_timeout;
        self.run(connection, &activity, || activity.rests_for(limit), peer).await;
    }

    fn service(
        &self,
        activity: &Activity,
        peer: IpAddr,
    ) -> impl HttpService<Incoming, ResBody = Body, Error = Infallible, Future: Send + 'static> + use<> {
        let (activity, router) = (activity.clone(), self.router.clone());
        let trusted_proxies = Arc::clone(&self.trusted_proxies);
        service_fn(move |mut request: hyper::Request<Incoming>| {
            let address = remote::address(peer, request.headers(), &trusted_proxies);
            request.extensions_mut().insert(RemoteAddress(address));
            request.extensions_mut().insert(Hangup(activity.hangup()));
            request.extensions_mut().insert(activity.key_shown());
            answer(router.clone(), activity.clone(), request.map(Body::new))
        })
    }

    /// Drives a connection to its end. `rests` completes when it has had nothing to do for too long.
    async fn run<R: Future<Output = ()>>(
        mut self,
        connection: impl Served,
        activity: &Activity,
        rests: impl Fn() -> R,
        peer: SocketAddr,
    ) {
        tokio::pin!(connection);
        let mut leaving = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, %peer, "connection ended");
                    }
                    return;
                }
                () = self.abort.cancelled() => return,
                () = activity.ended() => {
                    tracing::debug!(%peer, "making room");
                    return;
                }
                () = activity.hung_up() => {
                    tracing::debug!(%peer, "cutting a peer that does not read");
                    return;
                }
                () = self.stop.cancelled(), if !leaving => {}
                // One that was never used is no kept one: it has just come, and its request is on its way.
                _ = self.crowded.changed(), if !leaving => if !activity.has_begun() { continue },
                // Asked to leave it has nothing to do and still stays.
                () = rests() => if leaving { return },
            }
            leaving = true;
            connection.as_mut().finish();
        }
    }
}

async fn answer(router: Router, activity: Activity, mut request: Request) -> Result<Response, Infallible> {
    let under_way = activity.begin();
    // For whatever outlives the answer: a WebSocket is under way until it ends.
    request.extensions_mut().insert(under_way.clone());
    let response = router.oneshot(request).await?;
    Ok(response.map(|body| while_sending(body, under_way)))
}

async fn secure(
    tls: &TlsAcceptor,
    mut socket: TcpStream,
) -> std::io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
    let mut first = [0];
    if socket.peek(&mut first).await? == 1 && first[0] != TLS_HANDSHAKE && first[0].is_ascii_alphabetic() {
        socket.write_all(SPEAK_TLS.as_bytes()).await?;
        socket.shutdown().await?;
        return Err(std::io::Error::other("the peer speaks plain HTTP"));
    }
    tls.accept(socket).await
}

/// A connection of either version.
trait Served: Future<Output = hyper::Result<()>> {
    /// Answers what is under way and then ends.
    fn finish(self: Pin<&mut Self>);
}

impl<I, S> Served for http1::UpgradeableConnection<I, S>
where
    I: Read + Write + Unpin + Send + 'static,
    S: HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S> Served for http2::Connection<I, S, TokioExecutor>
where
    I: Read + Write + Unpin,
    S: HttpService<Incoming, ResBody = Body>,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
