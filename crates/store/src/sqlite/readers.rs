//! The readers of a file: a few threads with a connection each, behind one bounded queue. In WAL mode they neither
//! wait for the writer nor make it wait, and go on reading when nothing can be written.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::StoreError;
use crate::failure::Failure;
use crate::sqlite::threads::{Ending, StoreThread, caught};

/// Reads that may wait.
const QUEUE: usize = 1024;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// Handle to the reading threads.
pub(crate) struct Readers {
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    /// One for each thread, which ends once its connection is closed.
    closed: Mutex<Vec<oneshot::Receiver<()>>>,
    patience: Duration,
    ending: Ending,
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readers").finish_non_exhaustive()
    }
}

impl Readers {
    pub(crate) fn start(
        name: &str,
        connections: Vec<Connection>,
        patience: Duration,
        ending: Ending,
    ) -> Result<Self, StoreError> {
        let (queue, receiver) = mpsc::channel(QUEUE);
        let receiver = Arc::new(Mutex::new(receiver));
        let mut closed = Vec::new();
        for connection in connections {
            let (receiver, end) = (Arc::clone(&receiver), ending.clone());
            let (closes, is_closed) = oneshot::channel();
            closed.push(is_closed);
            std::thread::Builder::new().name(format!("{name}-read")).spawn(move || {
                end.run(|| run(&connection, &receiver));
                drop(connection);
                drop::<oneshot::Sender<()>>(closes);
            })?;
        }
        Ok(Self { queue: Mutex::new(Some(queue)), closed: Mutex::new(closed), patience, ending })
    }

    /// The reading threads, to be watched.
    pub(crate) fn threads(&self) -> StoreThread {
        self.ending.watch()
    }

    pub(crate) async fn read<T, F>(&self, op: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let queue = queue.ok_or(StoreError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // A reader that gave up waiting costs nothing more.
            if !reply.is_closed() {
                // One that panics has changed nothing: the next operation may use the connection.
                let outcome = caught(|| op(connection)).unwrap_or_else(|words| {
                    tracing::error!(words, "a reading operation of the store broke");
                    Err(StoreError::Broken(Failure::new(words)))
                });
                let _ = reply.send(outcome);
            }
        });
        queue.send_timeout(job, self.patience).await.map_err(|error| match error {
            mpsc::error::SendTimeoutError::Timeout(_) => StoreError::Busy,
            mpsc::error::SendTimeoutError::Closed(_) => StoreError::Closed,
        })?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    pub(crate) async fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let closed = std::mem::take(&mut *self.closed.lock().unwrap_or_else(PoisonError::into_inner));
        for one in closed {
            // It sends nothing. Joining would take a thread, which a host in need may refuse.
            let _ = one.await;
        }
    }
}

fn run(connection: &Connection, queue: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // The lock is held while waiting: whoever holds it is the one that is served next.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        match job {
            Some(job) => job(connection),
            None => return,
        }
    }
}
