//! The one writer of a file: a thread with natural group commit.
//!
//! ```text
//! callers ──► bounded queue ──► take everything that is there ──► BEGIN
//!                                        ▲                         │  per operation: SAVEPOINT, run, RELEASE
//!                                        │                         │                 (failed: ROLLBACK TO it)
//!                                 answers, feed ◄── COMMIT (fsync) ◄┘
//! ```
//!
//! Whatever arrives during one fsync is the next transaction: alone an operation waits for one fsync, in a crowd
//! hundreds share one. The thread owns the connection; callers own nothing but a queue slot and a one-shot answer, so
//! a caller that goes away cancels nothing.
//!
//! Failures: an operation that fails is undone alone and the rest of its group commits. If SQLite gives up the whole
//! transaction (disk full, I/O error) or the commit fails, everything in the group is undone and gets the error; what
//! was queued behind it is tried in a transaction of its own. No answer is given before its commit. An operation that
//! panics is undone alone like one that fails, and answered [`StoreError::Broken`]: what it had written is rolled back,
//! and the connection holds nothing of it. A panic anywhere else ends the thread; everything queued is answered
//! [`StoreError::Closed`] at once, and whoever watches [`Store::threads`](crate::Store::threads) learns of it.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use sandscope_model::Event;
use tokio::sync::{mpsc, oneshot};

use crate::StoreError;
use crate::failure::Failure;
use crate::feed::{Effects, Feed};
use crate::sqlite::fault::FaultPlan;
use crate::sqlite::threads::{Ending, StoreThread, caught};
use crate::sqlite::writes::WriteCounts;
use crate::sqlite::writes::WriteStats;

/// Operations that may wait.
const QUEUE: usize = 1024;
/// Operations in one transaction at most: bounds the time until the first of them is answered.
const MAX_GROUP: usize = 512;

/// The transaction an operation runs in.
#[derive(Debug)]
pub(crate) struct Tx<'a> {
    connection: &'a Connection,
    effects: &'a mut Effects,
}

impl Tx<'_> {
    /// Publishes `event` in the feed once it is committed.
    pub(crate) fn publish(&mut self, event: Arc<Event>) {
        self.effects.event(event);
    }

    /// Notifies whoever listens that a webhook changed, once that is committed.
    pub(crate) fn webhooks_changed(&mut self) {
        self.effects.webhooks_changed();
    }

    /// Notifies whoever listens that a rule of alerts changed, once that is committed.
    pub(crate) fn alert_rules_changed(&mut self) {
        self.effects.alert_rules_changed();
    }
}

impl Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

/// An operation whose result type has been forgotten.
trait Job: Send {
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError>;
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct Pending<T, F> {
    op: Option<F>,
    value: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Pending<T, F>
where
    T: Send,
    F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let op = self.op.take().ok_or(StoreError::Closed)?;
        self.value = Some(op(tx)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { value, reply, .. } = *self;
        // Nobody may be waiting any more; the outcome stands all the same.
        let _ = reply.send(outcome.and_then(|()| value.ok_or(StoreError::Closed)));
    }
}

enum Message {
    Job(Box<dyn Job>),
    Close,
}

/// Handle to the writer's thread.
pub(crate) struct Writer {
    queue: mpsc::Sender<Message>,
    /// Ends once the thread's connection is closed.
    closed: Mutex<Option<oneshot::Receiver<()>>>,
    patience: Duration,
    name: &'static str,
    stats: Arc<WriteStats>,
    ending: Ending,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    pub(crate) fn start(
        name: &'static str,
        connection: Connection,
        feed: Feed,
        faults: FaultPlan,
        patience: Duration,
        ending: Ending,
    ) -> Result<Self, StoreError> {
        let (queue, receiver) = mpsc::channel(QUEUE);
        let stats = Arc::<WriteStats>::default();
        let mut thread = WriterThread { connection, feed, faults, stats: Arc::clone(&stats) };
        let end = ending.clone();
        let (closes, closed) = oneshot::channel();
        std::thread::Builder::new().name(format!("{name}-write")).spawn(move || {
            end.run(move || thread.run(receiver));
            // By now the connection is closed.
            drop::<oneshot::Sender<()>>(closes);
        })?;
        Ok(Self { queue, closed: Mutex::new(Some(closed)), patience, name, stats, ending })
    }

    /// The writer's thread, to be watched.
    pub(crate) fn thread(&self) -> StoreThread {
        self.ending.watch()
    }

    pub(crate) async fn write<T, F>(&self, op: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Message::Job(Box::new(Pending { op: Some(op), value: None, reply }));
        self.queue.send_timeout(job, self.patience).await.map_err(|error| match error {
            mpsc::error::SendTimeoutError::Timeout(_) => StoreError::Busy,
            mpsc::error::SendTimeoutError::Closed(_) => StoreError::Closed,
        })?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    pub(crate) fn write_unattended<F>(&self, op: F)
    where
        F: FnOnce(&mut Tx<'_>) -> Result<(), StoreError> + Send + 'static,
    {
        let (reply, _) = oneshot::channel();
        if self.queue.try_send(Message::Job(Box::new(Pending { op: Some(op), value: None, reply }))).is_err()
        {
            tracing::debug!("an unattended write was dropped: the store's queue is full or closed");
        }
    }

    pub(crate) fn counts(&self) -> WriteCounts {
        self.stats.counts(self.name, self.queue.max_capacity() - self.queue.capacity())
    }

    pub(crate) async fn close(&self) {
        let _ = self.queue.send(Message::Close).await;
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(closed) = closed {
            // It sends nothing. Joining would take a thread, which a host in need may refuse.
            let _ = closed.await;
        }
    }
}

struct WriterThread {
    connection: Connection,
    feed: Feed,
    faults: FaultPlan,
    stats: Arc<WriteStats>,
}

impl WriterThread {
    fn run(&mut self, mut queue: mpsc::Receiver<Message>) {
        let mut group = VecDeque::new();
        while let Some(first) = queue.blocking_recv() {
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Job(job) => group.push_back(job),
                    // What is queued already is still done; `recv` ends once it is.
                    Message::Close => queue.close(),
                }
                next = if group.len() < MAX_GROUP { queue.try_recv().ok() } else { None };
            }
            while !group.is_empty() {
                self.transaction(&mut group);
            }
        }
    }

    /// Takes operations off `group` into one transaction; all of them, unless SQLite gives the transaction up.
    #[expect(clippy::disallowed_methods, reason = "how long a commit takes is reported, and decides nothing")]
    fn transaction(&self, group: &mut VecDeque<Box<dyn Job>>) {
        // Only after a rollback that failed.
        if !self.connection.is_autocommit() {
            let _ = self.execute("ROLLBACK");
        }
        if let Err(error) = self.execute("BEGIN IMMEDIATE") {
            self.stats.failed();
            group.drain(..).for_each(|job| job.answer(Err(error.clone())));
            return;
        }
        let mut effects = Effects::default();
        let mut done = Vec::with_capacity(group.len());
        while let Some(mut job) = group.pop_front() {
            match self.step(job.as_mut(), &mut effects) {
                Ok(()) => done.push(job),
                Err(error) => {
                    job.answer(Err(error.clone()));
                    if self.connection.is_autocommit() {
                        tracing::error!(%error, "a transaction was given up");
                        self.stats.failed();
                        done.into_iter().for_each(|job: Box<dyn Job>| job.answer(Err(error.clone())));
                        return;
                    }
                }
            }
        }
        let begun = Instant::now();
        let outcome = self.faults.check().and_then(|()| self.execute("COMMIT"));
        match &outcome {
            Ok(()) => {
                self.stats.committed(done.len(), begun.elapsed());
                self.feed.publish(effects);
            }
            Err(error) => {
                self.stats.failed();
                tracing::error!(%error, n_operations = done.len(), "a commit failed");
                if !self.connection.is_autocommit()
                    && let Err(error) = self.execute("ROLLBACK")
                {
                    tracing::error!(%error, "a failed commit could not be rolled back");
                }
            }
        }
        done.into_iter().for_each(|job| job.answer(outcome.clone()));
    }

    /// One operation inside its own savepoint.
    fn step(&self, job: &mut dyn Job, effects: &mut Effects) -> Result<(), StoreError> {
        let mark = effects.mark();
        self.execute("SAVEPOINT operation")?;
        let ran = caught(|| {
            self.faults.operation();
            job.run(&mut Tx { connection: &self.connection, effects: &mut *effects })
        });
        let ran = ran.unwrap_or_else(|words| {
            tracing::error!(words, "an operation of the store broke; it is undone");
            Err(StoreError::Broken(Failure::new(words)))
        });
        let outcome = ran.and_then(|()| self.execute("RELEASE operation"));
        if outcome.is_err() {
            effects.go_back(mark);
            if !self.connection.is_autocommit() {
                self.execute("ROLLBACK TO operation")?;
                self.execute("RELEASE operation")?;
            }
        }
        outcome
    }

    fn execute(&self, sql: &str) -> Result<(), StoreError> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
