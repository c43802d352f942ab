//! Writes what happens to sandboxes into their logs, in the order in which it happened, skipping nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sandscope_model::{Clock, Event};
use sandscope_store::{EventLog, LogBatch, NodeFacts, StoreError, Tail};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::sentence;

/// Events taken at once.
const EVENTS: u32 = 256;
/// How long the store is left alone after it failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Who writes it, over all lives of its task: one that panics leaves to the next what is not written.
pub(crate) struct Story {
    place: Mutex<Progress>,
    facts: Arc<dyn NodeFacts>,
    clock: Arc<dyn Clock>,
}

/// How far it is: a batch at most waits here, all else in the log.
struct Progress {
    tail: Tail,
    unwritten: VecDeque<Arc<Event>>,
}

impl Story {
    /// Of what happens from now on.
    pub(crate) fn new(log: &EventLog, facts: Arc<dyn NodeFacts>, clock: Arc<dyn Clock>) -> Self {
        let place = Progress { tail: log.tail_from_now(), unwritten: VecDeque::new() };
        Self { place: Mutex::new(place), facts, clock }
    }

    /// Writes until it is stopped and everything that happened is written, or cannot be.
    pub(crate) async fn write(self: Arc<Self>, stop: CancellationToken) {
        let mut place = self.place.lock().await;
        while !stop.is_cancelled() {
            let Err(error) = self.step(&mut place, &stop).await else { continue };
            tracing::warn!(%error, n_waiting = place.unwritten.len(), "lifecycle lines are not written yet");
            let pause = self.clock.sleep(STORE_PAUSE);
            let _ = stop.run_until_cancelled(pause).await;
        }
        if let Err(error) = self.finish(&mut place).await {
            tracing::warn!(%error, n_missing = place.unwritten.len(), "lifecycle lines are missing in logs");
        }
    }

    /// Writes what waits, then takes more. Returns early when stopped.
    async fn step(&self, place: &mut Progress, stop: &CancellationToken) -> Result<(), StoreError> {
        self.append(&mut place.unwritten).await?;
        if let Some(batch) = stop.run_until_cancelled(place.tail.next(EVENTS)).await {
            place.unwritten.extend(batch?.events);
        }
        Ok(())
    }

    /// Writes all that has happened. One attempt: the server is about to end.
    async fn finish(&self, place: &mut Progress) -> Result<(), StoreError> {
        self.append(&mut place.unwritten).await?;
        while let Some(batch) = place.tail.try_next(EVENTS).await? {
            place.unwritten.extend(batch.events);
            self.append(&mut place.unwritten).await?;
        }
        Ok(())
    }

    /// Writes in order; stops at the first that is refused, which is then the first to be tried again. One that was
    /// written although its answer was lost is there twice.
    async fn append(&self, unwritten: &mut VecDeque<Arc<Event>>) -> Result<(), StoreError> {
        while let Some(event) = unwritten.front() {
            if let (Some(sandbox), Some(entry)) = (event.subject.sandbox(), sentence::entry(event)) {
                let batch =
                    LogBatch { sandbox_id: sandbox.id.clone(), entries: vec![entry], taken_upto: None };
                self.facts.append_logs(batch).await?;
            }
            unwritten.pop_front();
        }
        Ok(())
    }
}
