use std::cell::RefCell;
use std::time::Duration;

use bytes::Bytes;
use sandscope_agent_protocol::{Code, ConnectError};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, timeout_at};

/// Events that wait for one reader; each holds at most one chunk of output.
const QUEUE_EVENTS: usize = 16;

/// Readers of one process.
const MAX_READERS: usize = 64;

/// How long a process may be held up by readers that take nothing. Then they are cut off.
pub(crate) const STALL_LIMIT: Duration = Duration::from_secs(2);

/// What a reader is told: encoded frames, shared by all readers.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    Event(Bytes),
    /// The last one.
    End(Bytes),
}

/// Hands the events of one process to all who listen. Nobody listening: events are dropped.
#[derive(Default)]
pub(crate) struct Fanout {
    readers: RefCell<Vec<mpsc::Sender<Message>>>,
}

impl Fanout {
    pub(crate) fn subscribe(&self) -> Result<mpsc::Receiver<Message>, ConnectError> {
        let mut readers = self.readers.borrow_mut();
        readers.retain(|reader| !reader.is_closed());
        if readers.len() >= MAX_READERS {
            let message = format!("no more than {MAX_READERS} streams can read one process");
            return Err(ConnectError::new(Code::ResourceExhausted, message));
        }
        let (sender, receiver) = mpsc::channel(QUEUE_EVENTS);
        readers.push(sender);
        Ok(receiver)
    }

    pub(crate) fn has_readers(&self) -> bool {
        !self.readers.borrow().is_empty()
    }

    /// Hands out one event. Waits for readers whose queue is full, all together for [`STALL_LIMIT`] at most; a
    /// reader that has not made room by then is dropped, and its stream says so.
    pub(crate) async fn send(&self, message: Message) {
        // A copy: readers may come while we wait for the slow ones.
        let readers = self.readers.borrow().clone();
        let mut give_up_at = None;
        for reader in readers {
            let kept = match reader.try_send(message.clone()) {
                Ok(()) => true,
                Err(TrySendError::Closed(_)) => false,
                Err(TrySendError::Full(message)) => {
                    let give_up_at = *give_up_at.get_or_insert_with(|| Instant::now() + STALL_LIMIT);
                    matches!(timeout_at(give_up_at, reader.send(message)).await, Ok(Ok(())))
                }
            };
            if !kept {
                self.readers.borrow_mut().retain(|other| !other.same_channel(&reader));
            }
        }
    }

    /// No more events will come.
    pub(crate) fn close(&self) {
        self.readers.borrow_mut().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &'static str) -> Message {
        Message::Event(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_reader_that_takes_nothing_is_cut_off_and_the_others_miss_nothing() {
        let fanout = Fanout::default();
        let mut stuck = fanout.subscribe().unwrap();
        let mut reads = fanout.subscribe().unwrap();
        let began = Instant::now();
        let total = 4 * QUEUE_EVENTS;
        let send = async {
            for _ in 0..total {
                fanout.send(event("x")).await;
            }
            fanout.send(Message::End(Bytes::new())).await;
            fanout.close();
        };
        let read = async {
            let mut seen = 0;
            while let Some(Message::Event(_)) = reads.recv().await {
                seen += 1;
            }
            seen
        };
        let ((), seen) = tokio::join!(send, read);
        assert_eq!(seen, total);
        assert_eq!(began.elapsed(), STALL_LIMIT);
        let mut left = 0;
        while let Some(message) = stuck.recv().await {
            assert!(matches!(message, Message::Event(_)), "the end would hide that output is missing");
            left += 1;
        }
        assert_eq!(left, QUEUE_EVENTS);
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_reader_that_left_costs_nothing() {
        let fanout = Fanout::default();
        drop(fanout.subscribe().unwrap());
        let began = Instant::now();
        fanout.send(event("x")).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(!fanout.has_readers());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn readers_are_counted() {
        let fanout = Fanout::default();
        let mut readers: Vec<_> = (0..MAX_READERS).map(|_| fanout.subscribe().unwrap()).collect();
        assert_eq!(fanout.subscribe().unwrap_err().code, Code::ResourceExhausted);
        readers.pop();
        assert!(fanout.subscribe().is_ok());
    }
}
