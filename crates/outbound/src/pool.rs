use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::body::Outgoing;
use crate::dialer::Clearance;

/// An open HTTP/1.1 connection. Dropping it closes it, whatever is under way.
pub(crate) struct Connection {
    pub(crate) requests: SendRequest<Outgoing>,
    /// The task that keeps it going; `None` once it ends by itself.
    driver: Option<AbortHandle>,
    /// What it was made under; `None` where no guard was asked.
    clearance: Option<Clearance>,
    opened_at: Instant,
}

impl Connection {
    /// Wraps a connection that the task behind `driver` keeps going.
    pub(crate) fn new(
        requests: SendRequest<Outgoing>,
        driver: AbortHandle,
        clearance: Option<Clearance>,
    ) -> Self {
        Self { requests, driver: Some(driver), clearance, opened_at: Instant::now() }
    }

    /// No more requests: it closes when the answer under way has been read, or is dropped.
    pub(crate) fn finish(mut self) {
        self.driver = None;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}

struct Idle {
    origin: url::Origin,
    connection: Connection,
    since: Instant,
}

/// How long and how many connections are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    /// Idle connections kept at most.
    pub(crate) n: usize,
    /// Longest time without use.
    pub(crate) idle: Duration,
    /// Longest life of a connection, busy or idle.
    pub(crate) age: Duration,
}

/// The idle connections of one client.
pub(crate) struct Pool {
    keep: Keep,
    idle: Mutex<Vec<Idle>>,
}

impl Pool {
    pub(crate) fn new(keep: Keep) -> Self {
        Self { keep, idle: Mutex::default() }
    }

    fn is_fresh(&self, entry: &Idle) -> bool {
        entry.since.elapsed() < self.keep.idle
            && entry.connection.opened_at.elapsed() < self.keep.age
            && !entry.connection.requests.is_closed()
    }

    /// An idle connection to `origin` that still looks alive, most recently used first. Those that are no longer
    /// `permitted` are closed.
    pub(crate) fn take(
        &self,
        origin: &url::Origin,
        permitted: impl Fn(&Clearance) -> bool,
    ) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|entry| {
            self.is_fresh(entry) && entry.connection.clearance.as_ref().is_none_or(&permitted)
        });
        let position = idle.iter().rposition(|entry| entry.origin == *origin)?;
        Some(idle.remove(position).connection)
    }

    /// Keeps `connection` for the next request, unless enough are kept already.
    pub(crate) fn put(&self, origin: url::Origin, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|entry| self.is_fresh(entry));
        let entry = Idle { origin, connection, since: Instant::now() };
        if idle.len() < self.keep.n && self.is_fresh(&entry) {
            idle.push(entry);
        }
    }

    /// Closes what has been idle for too long, and says when to call again.
    pub(crate) fn sweep(&self) -> Option<Instant> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|entry| self.is_fresh(entry));
        idle.iter().filter_map(|entry| entry.since.checked_add(self.keep.idle)).min()
    }
}
