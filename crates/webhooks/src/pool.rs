use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::guard::Clearance;

/// Receivers commonly close idle connections after five seconds; ours go first.
const MAX_IDLE: Duration = Duration::from_secs(4);
/// A connection older than this is not used again, so that a changed name is noticed.
const MAX_AGE: Duration = Duration::from_secs(60);

/// An open HTTP/1.1 connection. Dropping it closes it, whatever is under way.
pub(crate) struct Connection {
    pub(crate) requests: SendRequest<Full<Bytes>>,
    driver: AbortHandle,
    clearance: Clearance,
    opened_at: Instant,
}

impl Connection {
    /// Wraps a connection that the task behind `driver` keeps going.
    pub(crate) fn new(requests: SendRequest<Full<Bytes>>, driver: AbortHandle, clearance: Clearance) -> Self {
        Self { requests, driver, clearance, opened_at: Instant::now() }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

struct Idle {
    origin: url::Origin,
    connection: Connection,
    since: Instant,
}

impl Idle {
    fn is_fresh(&self) -> bool {
        self.since.elapsed() < MAX_IDLE
            && self.connection.opened_at.elapsed() < MAX_AGE
            && !self.connection.requests.is_closed()
    }
}

/// The idle connections of one webhook: at most as many as its window is wide.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<Vec<Idle>>,
}

impl Pool {
    /// An idle connection to `origin` that still looks alive, most recently used first. Those that are no longer
    /// `permitted` are closed.
    pub(crate) fn take(
        &self,
        origin: &url::Origin,
        permitted: impl Fn(&Clearance) -> bool,
    ) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|entry| entry.is_fresh() && permitted(&entry.connection.clearance));
        let position = idle.iter().rposition(|entry| entry.origin == *origin)?;
        Some(idle.remove(position).connection)
    }

    /// Keeps `connection` for the next attempt, unless `capacity` are kept already.
    pub(crate) fn put(&self, origin: url::Origin, connection: Connection, capacity: usize) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Idle::is_fresh);
        if idle.len() < capacity {
            idle.push(Idle { origin, connection, since: Instant::now() });
        }
    }

    /// Closes what has been idle for too long, and says when to call again.
    pub(crate) fn sweep(&self) -> Option<Instant> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Idle::is_fresh);
        idle.iter().map(|entry| entry.since + MAX_IDLE).min()
    }
}
