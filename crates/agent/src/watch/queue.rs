use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use sandscope_agent_protocol::ConnectError;

/// Events that wait for one watcher, and their bytes.
pub(super) const MAX_EVENTS: usize = 4096;
const MAX_BYTES: usize = 1024 * 1024;

/// What has happened and was not yet delivered: encoded events, then perhaps why there are no more.
#[derive(Default)]
pub(super) struct Queue(RefCell<State>);

#[derive(Default)]
struct State {
    events: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Set where events are missing. Nothing is added behind it until it was delivered.
    lost: Option<ConnectError>,
    reader: Option<Waker>,
}

/// What a watcher gets next.
#[derive(Debug, PartialEq)]
pub(super) enum Item {
    /// An encoded event.
    Event(Vec<u8>),
    /// From here on events are missing.
    Lost(ConnectError),
}

impl Queue {
    /// Adds an encoded event. `too_slow` says what is said where there is no room.
    pub(super) fn push(&self, event: Vec<u8>, too_slow: impl FnOnce() -> ConnectError) {
        let mut state = self.0.borrow_mut();
        if state.lost.is_some() {
            return;
        }
        if state.events.len() >= MAX_EVENTS || state.bytes + event.len() > MAX_BYTES {
            state.lost = Some(too_slow());
        } else {
            state.bytes += event.len();
            state.events.push_back(event);
        }
        wake(&mut state);
    }

    /// Events are missing from here on.
    pub(super) fn lose(&self, why: ConnectError) {
        let mut state = self.0.borrow_mut();
        state.lost.get_or_insert(why);
        wake(&mut state);
    }

    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<Item> {
        let mut state = self.0.borrow_mut();
        match take(&mut state) {
            Some(item) => Poll::Ready(item),
            None => {
                state.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// All events there are; or why events are missing, once those before were delivered.
    pub(super) fn drain(&self) -> Result<Vec<Vec<u8>>, ConnectError> {
        let mut state = self.0.borrow_mut();
        let mut events = Vec::with_capacity(state.events.len());
        loop {
            match take(&mut state) {
                Some(Item::Event(event)) => events.push(event),
                // For the next call.
                Some(Item::Lost(why)) if !events.is_empty() => {
                    state.lost = Some(why);
                    return Ok(events);
                }
                Some(Item::Lost(why)) => return Err(why),
                None => return Ok(events),
            }
        }
    }
}

fn take(state: &mut State) -> Option<Item> {
    if let Some(event) = state.events.pop_front() {
        state.bytes -= event.len();
        return Some(Item::Event(event));
    }
    state.lost.take().map(Item::Lost)
}

fn wake(state: &mut State) {
    if let Some(reader) = state.reader.take() {
        reader.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandscope_agent_protocol::Code;

    fn slow() -> ConnectError {
        ConnectError::new(Code::DataLoss, "slow")
    }

    #[test]
    fn what_does_not_fit_is_said_to_be_missing_in_its_place() {
        let queue = Queue::default();
        for number in 0..MAX_EVENTS + 10 {
            queue.push(number.to_string().into_bytes(), slow);
        }
        let events = queue.drain().unwrap();
        assert_eq!((events.len(), events.last().unwrap().as_slice()), (MAX_EVENTS, b"4095".as_slice()));
        queue.push(b"dropped".to_vec(), slow);
        assert_eq!(queue.drain().unwrap_err(), slow());
        queue.push(b"new".to_vec(), slow);
        assert_eq!(queue.drain().unwrap(), [b"new"]);
        assert_eq!(queue.drain().unwrap(), Vec::<Vec<u8>>::new());
        queue.push(vec![0; MAX_BYTES], slow);
        queue.push(b"x".to_vec(), slow);
        assert_eq!(queue.drain().unwrap().len(), 1);
        assert_eq!(queue.drain().unwrap_err(), slow());
    }
}
