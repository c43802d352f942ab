use std::sync::Arc;

use sandscope_model::Attempt;
use sandscope_store::Attempts;
use sandscope_tasks::{Phase, Task, Tasks, Watched};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

/// Attempts that wait to be written; the maker of the next one waits. With bodies at their largest this is the
/// memory they may take: 32 MiB.
const CAPACITY: usize = 256;
/// Attempts written at once.
const BATCH: usize = 128;

/// Where finished attempts are handed in to be recorded.
#[derive(Clone)]
pub(crate) struct Recorder {
    attempts: mpsc::Sender<Attempt>,
}

impl Recorder {
    /// Starts the writer. After `stop` it ends when every recorder is gone and everything handed in is written. If it
    /// fails before `stop`, at most what the store had been handed is lost: its next life goes on with what waits.
    pub(crate) fn start(attempts_file: Attempts, tasks: &Tasks, stop: CancellationToken) -> (Self, Watched) {
        let (attempts, received) = mpsc::channel(CAPACITY);
        let waiting = Arc::new(Mutex::new(Waiting { received, batch: Vec::with_capacity(BATCH) }));
        let task = Task::restart("attempt-recorder", Phase::Deliver).stopped_by(stop);
        (Self { attempts }, tasks.start(task, move || write(attempts_file.clone(), Arc::clone(&waiting))))
    }

    /// The same for somebody who may outlive it.
    pub(crate) fn downgrade(&self) -> WeakRecorder {
        WeakRecorder(self.attempts.downgrade())
    }

    /// Hands in an attempt, waiting for room.
    pub(crate) async fn record(&self, attempt: Attempt) {
        // The writer outlives every recorder, unless the process is about to end.
        let _ = self.attempts.send(attempt).await;
    }
}

/// A recorder that keeps nobody waiting for its end.
#[derive(Clone)]
pub(crate) struct WeakRecorder(mpsc::WeakSender<Attempt>);

impl WeakRecorder {
    /// Hands in an attempt, if anybody is there to write it.
    pub(crate) async fn record(&self, attempt: Attempt) {
        if let Some(attempts) = self.0.upgrade() {
            Recorder { attempts }.record(attempt).await;
        }
    }
}

/// What is not written yet, over all lives of the writer: one that fails leaves it to the next.
struct Waiting {
    received: mpsc::Receiver<Attempt>,
    /// Taken, and not handed to the store.
    batch: Vec<Attempt>,
}

async fn write(attempts_file: Attempts, waiting: Arc<Mutex<Waiting>>) {
    let mut waiting = waiting.lock().await;
    let Waiting { received, batch } = &mut *waiting;
    while !batch.is_empty() || received.recv_many(batch, BATCH).await > 0 {
        let n_attempts = batch.len();
        // The record of attempts is for people to read. Deliveries must not stop for it, nor is it kept at any price.
        if let Err(error) = attempts_file.insert_attempts(std::mem::take(batch)).await {
            tracing::warn!(%error, n_attempts, "attempts were made but could not be recorded");
        }
    }
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
