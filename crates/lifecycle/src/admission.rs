//! Who is heard next, and what may be done in which state: pure, so that every order of arrivals can be tested.
//!
//! ```text
//!                 ┌── the sandbox died ──────────────── first: nothing else can be true any more
//!   arrivals ──►  │   kill requests
//!   (bounded)     │   requests asked for before the end time
//!                 │   the end time has come
//!                 └── other requests, in order of arrival
//! ```

use std::collections::VecDeque;

use sandscope_model::{StateName, Uptime};

/// What is asked of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    Kill,
    Pause,
    /// Run again; refused if it runs.
    Resume,
    /// Run, and for at least so long.
    Connect,
    /// Run; fine if it does.
    Wake,
    SetTimeout,
    Refresh,
    Checkpoint,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is done.
    Accept,
    /// It already is so.
    Satisfied,
    /// It cannot be done in this state.
    Denied(StateName),
    /// There is nothing left to ask of.
    Gone,
}

impl Ask {
    /// Judges the request by the state the sandbox is in once its turn has come.
    pub(crate) const fn judge(self, state: StateName) -> Outcome {
        match (self, state) {
            (Self::Kill, StateName::Killed) | (Self::Wake, StateName::Running) => Outcome::Satisfied,
            (_, StateName::Killed | StateName::Creating) => Outcome::Gone,
            (Self::Kill, _)
            | (
                Self::Pause | Self::Connect | Self::SetTimeout | Self::Refresh | Self::Checkpoint,
                StateName::Running,
            )
            | (Self::Resume | Self::Connect | Self::Wake, StateName::Paused) => Outcome::Accept,
            (_, state) => Outcome::Denied(state),
        }
    }
}

/// Whose turn it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn<T> {
    /// The sandbox has died.
    Exit,
    /// This request's.
    Request(T),
    /// The sandbox's time is up.
    TimeUp,
    /// Nothing is to be done yet.
    Nobody,
}

/// The requests that wait for one sandbox.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    waiting: VecDeque<Waiting<T>>,
    capacity: usize,
}

#[derive(Debug)]
struct Waiting<T> {
    ask: Ask,
    asked_at: Uptime,
    request: T,
}

impl<T> Inbox<T> {
    pub(crate) const fn new(capacity: usize) -> Self {
        Self { waiting: VecDeque::new(), capacity }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= self.capacity
    }

    /// Adds a request; gives it back if there is no room.
    pub(crate) fn push(&mut self, ask: Ask, asked_at: Uptime, request: T) -> Result<(), T> {
        if self.is_full() {
            return Err(request);
        }
        self.waiting.push_back(Waiting { ask, asked_at, request });
        Ok(())
    }

    /// Whose turn is it? `due` is when the sandbox's time is up, if it ever is in its state.
    pub(crate) fn next(&mut self, has_died: bool, due: Option<Uptime>, now: Uptime) -> Turn<T> {
        if has_died {
            return Turn::Exit;
        }
        if let Some(index) = self.waiting.iter().position(|waiting| waiting.ask == Ask::Kill) {
            return self.take(index);
        }
        let due = due.filter(|due| now >= *due);
        let Some(due) = due else { return self.take(0) };
        // Whoever asked in time must not lose to a driver that was busy until it was too late.
        match self.waiting.iter().position(|waiting| waiting.asked_at < due) {
            Some(index) => self.take(index),
            None => Turn::TimeUp,
        }
    }

    /// Everything that still waits, in order of arrival.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.waiting.drain(..).map(|waiting| waiting.request)
    }

    fn take(&mut self, index: usize) -> Turn<T> {
        self.waiting.remove(index).map_or(Turn::Nobody, |waiting| Turn::Request(waiting.request))
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
