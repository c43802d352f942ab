use sandscope_model::Attempt;
use sandscope_store::Store;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Attempts that wait to be written; whoever made the next one waits. With bodies at their largest this is the
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
    /// Starts the writer; it ends when every recorder is gone and everything handed in is written.
    pub(crate) fn start(store: Store) -> (Self, JoinHandle<()>) {
        let (attempts, received) = mpsc::channel(CAPACITY);
        (Self { attempts }, tokio::spawn(write(store, received)))
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

async fn write(store: Store, mut received: mpsc::Receiver<Attempt>) {
    let mut batch = Vec::with_capacity(BATCH);
    while received.recv_many(&mut batch, BATCH).await > 0 {
        let n_attempts = batch.len();
        // The record of attempts is for people to read. Deliveries must not stop for it, nor is it kept at any price.
        if let Err(error) = store.insert_attempts(std::mem::take(&mut batch)).await {
            tracing::warn!(%error, n_attempts, "attempts were made but could not be recorded");
        }
    }
}
