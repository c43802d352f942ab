//! The listening socket: connections accepted, bounded, served and drained.
//!
//! ```text
//! accept ─► permit (max_connections) ─► task: HTTP/1.1 until the peer closes, is too slow, or a drain asks it to end
//! ```
//!
//! A peer has `header_timeout` for each request's head, also on a kept connection, so an idle or dripping one cannot
//! hold its permit for long. A head above [`MAX_HEAD_BYTES`] is refused with the API's JSON. While every permit is
//! taken, new connections wait in the kernel's queue. Dropping [`Http`] ends every connection.
//!
//! Each request is told where it came from. `X-Forwarded-For` counts only as far as the operator trusts whoever wrote
//! it: from the connection's peer back to the first address that is no trusted proxy.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use sandscope_api::{Hangup, RemoteAddress};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Largest head of a request that is served, in bytes: request target, names and values together.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// Largest head that is read at all: room to refuse the merely large ones politely.
const MAX_READ_BYTES: usize = 128 * 1024;

/// Most header lines that are served, and that are read at all.
const MAX_HEADERS: usize = 100;
const MAX_READ_HEADERS: usize = 1024;

/// How long to wait after `accept` failed, as it does while the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bounds of the listening side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at once.
    pub max_connections: usize,
    /// Time for a request's head.
    pub header_timeout: Duration,
}

/// A socket being served.
#[derive(Debug)]
pub(crate) struct Http {
    address: SocketAddr,
    stop: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
}

impl Http {
    /// Serves `router` on `listener`.
    pub(crate) fn start(
        listener: TcpListener,
        router: Router,
        limits: Limits,
        trusted_proxies: Vec<IpNet>,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, abort, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let router = router.layer(middleware::from_fn(refuse_large_head));
        let trusted_proxies = trusted_proxies.into();
        let (stopped, aborted) = (stop.clone(), abort.clone());
        let connections = Connections { router, limits, trusted_proxies, stop: stopped, abort: aborted };
        tasks.spawn(accept(listener, connections, tasks.clone()));
        Ok(Self { address, stop, abort, tasks })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting and waits, at most `limit`, until every request under way is answered; then cuts the rest.
    pub(crate) async fn drain(&self, limit: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::warn!(n_connections = self.tasks.len(), "cutting connections that did not end in time");
        }
        self.abort.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.stop.cancel();
        self.abort.cancel();
    }
}

#[derive(Clone)]
struct Connections {
    router: Router,
    limits: Limits,
    trusted_proxies: Arc<[IpNet]>,
    stop: CancellationToken,
    abort: CancellationToken,
}

async fn accept(listener: TcpListener, connections: Connections, tasks: TaskTracker) {
    let permits = Arc::new(Semaphore::new(connections.limits.max_connections));
    loop {
        let accepted = async {
            // The semaphore is never closed; were it, serving without a bound would be worse than not serving.
            let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
            Some((permit, listener.accept().await))
        };
        let accepted = tokio::select! {
            () = connections.stop.cancelled() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            None => return,
            Some((permit, Ok((socket, peer)))) => {
                let connections = connections.clone();
                tasks.spawn(async move {
                    serve(socket, peer, connections).await;
                    drop(permit);
                });
            }
            Some((_, Err(error))) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(socket: TcpStream, peer: SocketAddr, connections: Connections) {
    let Connections { router, limits, trusted_proxies, stop, abort } = connections;
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, %peer, "cannot set TCP_NODELAY");
    }
    let router = TowerToHyperService::new(router);
    let hangup = Arc::new(Notify::new());
    let service = service_fn(|mut request: http::Request<Incoming>| {
        let address = client_address(peer.ip(), request.headers(), &trusted_proxies);
        request.extensions_mut().insert(RemoteAddress(address));
        request.extensions_mut().insert(Hangup(Arc::clone(&hangup)));
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_READ_BYTES)
        .max_headers(MAX_READ_HEADERS)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    tokio::pin!(connection);
    let cut = async {
        tokio::select! {
            () = abort.cancelled() => {}
            () = hangup.notified() => tracing::debug!(%peer, "cutting a peer that does not read"),
        }
    };
    tokio::pin!(cut);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = &mut cut => return,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = &mut cut => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "connection ended");
    }
}

/// Whom a request comes from: the peer, or, as far as every proxy on the way is trusted, whom they say.
fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    let mut client = peer.to_canonical();
    let said = headers.get_all("x-forwarded-for").into_iter().rev();
    let said = said.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
    for text in said {
        if !is_trusted(client) {
            break;
        }
        // What cannot be read says nothing, and nothing before it either.
        let Ok(address) = text.trim().parse::<IpAddr>() else { break };
        client = address.to_canonical();
    }
    client
}

async fn refuse_large_head(request: Request, next: Next) -> Response {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let headers: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let too_large = |what: &str| format!("The request's {what} is larger than {MAX_HEAD_BYTES} bytes");
    let (status, message) = if target > MAX_HEAD_BYTES {
        (StatusCode::URI_TOO_LONG, too_large("address"))
    } else if target + headers > MAX_HEAD_BYTES {
        (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, too_large("head"))
    } else if request.headers().len() > MAX_HEADERS {
        let message = format!("The request has more than {MAX_HEADERS} headers");
        (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message)
    } else {
        return next.run(request).await;
    };
    let body = serde_json::json!({ "code": status.as_u16(), "message": message }).to_string();
    (status, [(header::CONTENT_TYPE, "application/json"), (header::CONNECTION, "close")], body)
        .into_response()
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
