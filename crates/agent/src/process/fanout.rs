use std::cell::RefCell;
use std::pin::Pin;
use std::task::Poll;
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

/// How long, all in all, one reader may keep the others waiting before it has caught up. Then it is cut off.
pub(crate) const STALL_LIMIT: Duration = Duration::from_secs(2);

/// How long a process may be held up by readers of whom none takes anything. Then they are cut off.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a reader gets: encoded frames, shared by all readers.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    Event(Bytes),
    /// The last one.
    End(Bytes),
}

/// Hands the events of one process to all who listen. Nobody listening: events are dropped.
#[derive(Default)]
pub(crate) struct Fanout {
    readers: RefCell<Vec<Reader>>,
}

struct Reader {
    queue: mpsc::Sender<Message>,
    /// How long it has kept others waiting since it had last caught up.
    debt: Duration,
}

type Late = Pin<Box<dyn Future<Output = bool>>>;

impl Fanout {
    pub(crate) fn subscribe(&self) -> Result<mpsc::Receiver<Message>, ConnectError> {
        let mut readers = self.readers.borrow_mut();
        readers.retain(|reader| !reader.queue.is_closed());
        if readers.len() >= MAX_READERS {
            let message = format!("no more than {MAX_READERS} streams can read one process");
            return Err(ConnectError::new(Code::ResourceExhausted, message));
        }
        let (queue, receiver) = mpsc::channel(QUEUE_EVENTS);
        readers.push(Reader { queue, debt: Duration::ZERO });
        Ok(receiver)
    }

    pub(crate) fn has_readers(&self) -> bool {
        !self.readers.borrow().is_empty()
    }

    /// Hands out one event. Where every reader's queue is full this waits for one of them, as a pipe would, for
    /// [`PATIENCE`] at most. A reader that is slower than the others keeps them waiting for [`STALL_LIMIT`] at most, all
    /// its waits together; then it is dropped, and its stream says so.
    pub(crate) async fn send(&self, message: Message) {
        let mut late = Vec::new();
        let mut ready = 0;
        self.readers.borrow_mut().retain_mut(|reader| {
            let caught_up = reader.queue.capacity() == QUEUE_EVENTS;
            match reader.queue.try_send(message.clone()) {
                Ok(()) => {
                    ready += 1;
                    if caught_up {
                        reader.debt = Duration::ZERO;
                    }
                    true
                }
                Err(TrySendError::Closed(_)) => false,
                Err(TrySendError::Full(message)) => {
                    late.push((reader.queue.clone(), message, reader.debt));
                    true
                }
            }
        });
        if !late.is_empty() {
            self.wait_for(late, ready > 0).await;
        }
    }

    async fn wait_for(&self, late: Vec<(mpsc::Sender<Message>, Message, Duration)>, others: bool) {
        let mut waiting: Vec<(mpsc::Sender<Message>, Duration, Late)> = late
            .into_iter()
            .map(|(queue, message, debt)| {
                let to = queue.clone();
                let sent: Late = Box::pin(async move { to.send(message).await.is_ok() });
                (queue, debt, sent)
            })
            .collect();
        // From when on they keep somebody waiting.
        let mut since = others.then(Instant::now);
        let began = Instant::now();
        while !waiting.is_empty() {
            let give_up_at = match since {
                None => began + PATIENCE,
                Some(since) => {
                    let most = waiting.iter().map(|(_, debt, _)| *debt).max().unwrap_or_default();
                    since + STALL_LIMIT.saturating_sub(most)
                }
            };
            let first = std::future::poll_fn(|context| {
                let found = waiting.iter_mut().enumerate().find_map(|(at, (_, _, sent))| {
                    match sent.as_mut().poll(context) {
                        Poll::Ready(sent) => Some((at, sent)),
                        Poll::Pending => None,
                    }
                });
                found.map_or(Poll::Pending, Poll::Ready)
            });
            let waited = |since: Option<Instant>| since.map_or(Duration::ZERO, |since| since.elapsed());
            match timeout_at(give_up_at, first).await {
                Ok((at, sent)) => {
                    let (queue, debt, _) = waiting.swap_remove(at);
                    self.settle(&queue, sent.then(|| debt + waited(since)));
                    since.get_or_insert_with(Instant::now);
                }
                Err(_) => {
                    // The worst of them; the others may have some time left.
                    let most = waiting.iter().map(|(_, debt, _)| *debt).max().unwrap_or_default();
                    let patient = since.is_none();
                    waiting.retain(|(queue, debt, _)| {
                        let cut_off = patient || *debt == most;
                        if cut_off {
                            self.settle(queue, None);
                        }
                        !cut_off
                    });
                }
            }
        }
    }

    /// Notes how long others have waited for a reader, or drops it.
    fn settle(&self, queue: &mpsc::Sender<Message>, debt: Option<Duration>) {
        let mut readers = self.readers.borrow_mut();
        match debt {
            None => readers.retain(|reader| !reader.queue.same_channel(queue)),
            Some(debt) => {
                if let Some(reader) = readers.iter_mut().find(|reader| reader.queue.same_channel(queue)) {
                    reader.debt = debt;
                }
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
    async fn a_reader_that_always_lags_costs_the_others_no_more_than_one_that_is_stuck() {
        let fanout = Fanout::default();
        let mut lags = fanout.subscribe().unwrap();
        let mut reads = fanout.subscribe().unwrap();
        let began = Instant::now();
        let total = 1000;
        let send = async {
            for _ in 0..total {
                fanout.send(event("x")).await;
            }
            fanout.close();
        };
        let lag = async {
            // Just often enough never to be stuck.
            while lags.recv().await.is_some() {
                tokio::time::sleep(STALL_LIMIT / 3).await;
            }
        };
        let read = async {
            let mut seen = 0;
            while reads.recv().await.is_some() {
                seen += 1;
            }
            (seen, began.elapsed())
        };
        let ((), (), (seen, elapsed)) = tokio::join!(send, lag, read);
        assert_eq!(seen, total);
        assert!(elapsed <= STALL_LIMIT, "{elapsed:?}");
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_reader_alone_holds_the_process_up_as_a_pipe_would_but_not_for_ever() {
        let fanout = Fanout::default();
        let mut alone = fanout.subscribe().unwrap();
        let total = QUEUE_EVENTS + 3;
        let send = async {
            for _ in 0..total {
                fanout.send(event("x")).await;
            }
        };
        let read = async {
            tokio::time::sleep(PATIENCE / 2).await;
            for _ in 0..total {
                assert!(alone.recv().await.is_some(), "cut off although it reads");
            }
        };
        tokio::join!(send, read);
        let began = Instant::now();
        for _ in 0..=QUEUE_EVENTS {
            fanout.send(event("x")).await;
        }
        assert_eq!(began.elapsed(), PATIENCE);
        assert!(!fanout.has_readers());
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
