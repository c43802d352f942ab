//! The listening socket: connections accepted, secured, bounded, served and drained.
//!
//! ```text
//! accept ─► permit (max_connections) ─► task: TLS, if there is a certificate ─► HTTP/1.1, or HTTP/2 where TLS agreed
//!                                             on it, until the peer closes, is too slow, or a drain asks it to end
//! ```
//!
//! A peer has `header_timeout` for the handshake and for each request's head, also on a kept connection, and may keep
//! an HTTP/2 connection with nothing under way for as long, so an idle or dripping one cannot hold its permit for long.
//! While no more than an eighth of the permits are left, kept connections are closed as soon as they have nothing under
//! way, and those over which no key of ours has come are ended (`keyless`): new clients are served first. While every
//! permit is taken, new connections wait in the kernel's queue. An address has a bounded share of the connections without
//! a key. A head above `MAX_HEAD_BYTES` is refused with the API's JSON. Each request carries where it came from (`remote`).
//! Dropping [`Http`] ends every connection.

mod activity;
mod connection;
mod head;
mod keyless;
mod remote;
mod tls;
mod unread;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use ipnet::IpNet;
use sandscope_tasks::{Phase, Task, Tasks};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use connection::Connections;
use keyless::Keyless;

#[cfg(test)]
pub(crate) use head::{MAX_HEAD_BYTES, MAX_HEADERS};
pub(crate) use tls::Tls;

/// How long to wait after `accept` failed, as it does while the process is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// It is crowded while no more than one in so many permits are left.
const CROWDED: usize = 8;

/// Shortest time between two notices to connections that permits are scarce.
const CROWDED_EVERY: Duration = Duration::from_secs(1);

/// Bounds of the listening side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at once.
    pub max_connections: usize,
    /// Connections at once of one address that shows no key.
    pub max_keyless: usize,
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
    /// Serves `router` on `listener`, over TLS if there is a certificate. What accepts connections is a task of
    /// `watched` under `name`; when it fails it starts again on the same listener, and connections go on meanwhile.
    pub(crate) fn start(
        (name, watched): (&'static str, &Tasks),
        listener: TcpListener,
        router: Router,
        limits: Limits,
        trusted_proxies: Vec<IpNet>,
        tls: Option<&Tls>,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, abort, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let router =
            router.layer(middleware::from_fn(head::refuse)).layer(middleware::from_fn(unread::settle));
        let crowded = watch::Sender::new(());
        let trusted_proxies: Arc<[IpNet]> = trusted_proxies.into();
        let keyless = Keyless::new(limits.max_keyless, Arc::clone(&trusted_proxies));
        let connections = Connections {
            router,
            limits,
            trusted_proxies,
            tls: tls.map(Tls::acceptor),
            stop: stop.clone(),
            abort: abort.clone(),
            crowded: crowded.subscribe(),
        };
        let most = limits.max_connections;
        let places = Places { most, permits: Arc::new(Semaphore::new(most)), crowded, keyless };
        let door = Arc::new(Door { listener, connections, places, tasks: tasks.clone() });
        let task = Task::restart(name, Phase::Listen).stopped_by(stop.clone());
        watched.start(task, move || accept(Arc::clone(&door)));
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

/// The places for connections.
struct Places {
    most: usize,
    permits: Arc<Semaphore>,
    crowded: watch::Sender<()>,
    keyless: Keyless,
}

impl Places {
    /// Waits for a place. While they are few, ends somebody's of whom nobody knows, and asks those who only keep theirs to
    /// close, each time it has waited for long. `None` never happens: the semaphore is not closed; were it, serving without a bound would be worse than not serving.
    async fn take(&self, told_at: &mut Option<Instant>) -> Option<OwnedSemaphorePermit> {
        loop {
            let is_crowded = self.permits.available_permits() <= self.most / CROWDED;
            if is_crowded && told_at.is_none_or(|at| at.elapsed() >= CROWDED_EVERY) {
                *told_at = Some(Instant::now());
                tracing::debug!("crowded: letting go of kept connections");
                self.crowded.send_replace(());
            }
            if is_crowded {
                self.keyless.make_room();
            }
            let permit = Arc::clone(&self.permits).acquire_owned();
            if let Ok(permit) = tokio::time::timeout(CROWDED_EVERY, permit).await {
                return permit.ok();
            }
        }
    }
}

/// Where connections come in.
struct Door {
    listener: TcpListener,
    connections: Connections,
    places: Places,
    tasks: TaskTracker,
}

async fn accept(door: Arc<Door>) {
    let Door { listener, connections, places, tasks } = &*door;
    let mut told_at: Option<Instant> = None;
    loop {
        // The place comes second: room is made for somebody who is there.
        let accepted = async {
            let accepted = listener.accept().await;
            Some((places.take(&mut told_at).await?, accepted))
        };
        let accepted = tokio::select! {
            () = connections.stop.cancelled() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            None => return,
            Some((permit, Ok((socket, peer)))) => {
                let Some(place) = places.keyless.enter(peer.ip()) else {
                    tracing::debug!(%peer, "too many connections without a key");
                    continue;
                };
                let mut connections = connections.clone();
                // What was said before it came is not for it.
                connections.crowded.mark_unchanged();
                tasks.spawn(async move {
                    connections.serve(socket, peer, place).await;
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

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "http_tls_tests.rs"]
mod tls_tests;
