//! Recording changes. An intent is tried once; a result is tried until it is recorded, because the engine has
//! already acted and what happened must not be lost.

use std::time::Duration;

use sandscope_model::{EventDraft, Fact, Sandbox, Stamp, StateName, Transition};
use sandscope_store::{Change, NewSnapshot, StoreError};

use super::held::Driver;
use crate::RequestError;

const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// A change about to be recorded. Trying again uses the same event id, so that a change that was recorded although
/// the store reported a failure cannot be published twice.
pub(super) struct Next {
    pub(super) sandbox: Sandbox,
    pub(super) event: Option<EventDraft>,
    pub(super) snapshot: Option<NewSnapshot>,
}

impl Driver {
    /// The change that `transition` makes, at `at`.
    pub(super) fn next(&self, transition: Transition, at: Stamp) -> Result<Next, RequestError> {
        let applied = self.sandbox.state.apply(transition);
        let (state, fact) = applied.map_err(|denied| RequestError::Denied { state: denied.state })?;
        let intent_origin = state.is_intent().then(|| self.origin.clone());
        let sandbox = Sandbox { state, intent_origin, ..(*self.sandbox).clone() };
        let event = fact.map(|mut fact| {
            if let Some(execution) = self.sandbox.state.execution() {
                fact.correct_execution(execution, at);
            }
            self.context.draft(&sandbox, &self.origin, fact, at.at)
        });
        Ok(Next { sandbox, event, snapshot: None })
    }

    /// A change that leaves the state as it is.
    pub(super) fn next_in_state(&self, fact: Fact, change: impl FnOnce(&mut Sandbox)) -> Next {
        let mut sandbox = (*self.sandbox).clone();
        change(&mut sandbox);
        let now = self.context.clock.now();
        let event = Some(self.context.draft(&sandbox, &self.origin, fact, now));
        Next { sandbox, event, snapshot: None }
    }

    /// Records a change. On failure nothing has changed.
    pub(super) async fn commit(&mut self, next: &Next) -> Result<(), StoreError> {
        let change = Change {
            sandbox: next.sandbox.clone(),
            event: next.event.clone(),
            snapshot: next.snapshot.clone(),
        };
        match self.context.facts.commit(change).await {
            Ok(_) => {}
            Err(error) if self.has_landed(next).await => {
                tracing::warn!(sandbox_id = %self.sandbox.id, %error, "recorded although the store reported a failure");
            }
            Err(error) => {
                if error == StoreError::Conflict {
                    self.catch_up().await;
                }
                return Err(error);
            }
        }
        let generation = self.sandbox.generation + 1;
        self.adopt(Sandbox { generation, ..next.sandbox.clone() });
        Ok(())
    }

    /// Whether a change that was reported as failed is there all the same. Only this driver changes the row, so the
    /// generation shows.
    async fn has_landed(&self, next: &Next) -> bool {
        let row = self.context.facts.sandbox(&self.sandbox.id).await;
        matches!(row, Ok(Some(row)) if row.generation == self.sandbox.generation + 1 && row.state == next.sandbox.state)
    }

    /// Goes on from what is recorded. The row was changed although the store reported that it was not.
    async fn catch_up(&mut self) {
        match self.context.facts.sandbox(&self.sandbox.id).await {
            Ok(Some(row)) => {
                tracing::error!(sandbox_id = %row.id, state = %row.state.name(), "the row is not as this driver left it");
                let holds_place =
                    matches!(row.state.name(), StateName::Running | StateName::Pausing | StateName::Resuming);
                if holds_place && self.slot.is_none() {
                    self.slot = self.context.slots.take(row.team_id, u32::MAX);
                }
                self.adopt(row);
            }
            Ok(None) => {
                tracing::error!(sandbox_id = %self.sandbox.id, "the row is gone");
                self.context.registry.remove(&self.sandbox.id);
                self.over = true;
            }
            Err(error) => tracing::error!(sandbox_id = %self.sandbox.id, %error, "the row cannot be read"),
        }
    }

    /// Records what has happened, however long it takes. Whoever waits gets the first failure; other requests
    /// are refused as busy meanwhile. Fails when the server stops, and when the row turns out to be another than
    /// this change was made from.
    pub(super) async fn settle(&mut self, next: &Next) -> Result<(), RequestError> {
        let mut delay = FIRST_DELAY;
        loop {
            let error = match self.commit(next).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            tracing::error!(sandbox_id = %self.sandbox.id, %error, "a change cannot be recorded; trying again");
            let is_closed = error == StoreError::Closed;
            let is_stale =
                error == StoreError::Conflict && self.sandbox.generation != next.sandbox.generation;
            if let Some(waiting) = self.waiting.take() {
                waiting.send(RequestError::Store(error));
            }
            if is_closed {
                self.over = true;
                return Err(RequestError::Draining);
            }
            if is_stale || self.over {
                return Err(RequestError::Busy);
            }
            self.back_off(delay).await?;
            delay = (delay * 2).min(LONGEST_DELAY);
        }
    }

    /// Lets `delay` pass, refusing requests as busy. Fails when the server stops.
    pub(super) async fn back_off(&mut self, delay: Duration) -> Result<(), RequestError> {
        let abandoned = self.context.abandoned.clone();
        let mut passed = self.context.clock.sleep(delay);
        loop {
            tokio::select! {
                biased;
                () = abandoned.cancelled() => {
                    self.over = true;
                    return Err(RequestError::Draining);
                }
                () = &mut passed => return Ok(()),
                Some(envelope) = self.requests.recv() => envelope.request.refusal().send(RequestError::Busy),
            }
        }
    }
}
