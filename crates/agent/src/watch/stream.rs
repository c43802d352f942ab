use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use sandscope_agent_protocol::ConnectError;
use sandscope_agent_protocol::filesystem::WatchDirResponse;
use sandscope_agent_protocol::frame::HEADER_BYTES;
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, interval_at, sleep_until};

use super::queue::Item;
use super::table::Watching;
use crate::connect;

/// The answer of `WatchDir`: that it has begun, then whatever changes. Watching ends with it.
pub(super) struct EventStream {
    next: Next,
    watching: Watching,
    keepalive: Interval,
    deadline: Option<Pin<Box<Sleep>>>,
}

enum Next {
    Start,
    Events,
    Close(ConnectError),
    Nothing,
}

impl EventStream {
    pub(super) fn new(watching: Watching, every: Duration, deadline: Option<Instant>) -> Self {
        let mut keepalive = interval_at(Instant::now() + every, every);
        keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let deadline = deadline.map(|at| Box::pin(sleep_until(at)));
        Self { next: Next::Start, watching, keepalive, deadline }
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.watching.watcher.queue.poll(context) {
            Poll::Ready(Item::Event(event)) => {
                self.keepalive.reset();
                return Poll::Ready(Some(frame(&event)));
            }
            Poll::Ready(Item::Lost(why)) => {
                self.next = Next::Close(why);
                return Poll::Ready(None);
            }
            Poll::Pending => {}
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            self.next = Next::Close(connect::too_late());
            return Poll::Ready(None);
        }
        if self.keepalive.poll_tick(context).is_ready() {
            return Poll::Ready(Some(connect::frame(&WatchDirResponse::Keepalive {})));
        }
        Poll::Pending
    }
}

/// The frame of an event that is encoded already.
fn frame(event: &[u8]) -> Bytes {
    const BEFORE: &[u8] = br#"{"filesystem":"#;
    let length = BEFORE.len() + event.len() + 1;
    let mut frame = Vec::with_capacity(HEADER_BYTES + length);
    frame.push(0);
    // An event is far smaller than what a length can say.
    frame.extend_from_slice(&u32::try_from(length).unwrap_or_default().to_be_bytes());
    frame.extend_from_slice(BEFORE);
    frame.extend_from_slice(event);
    frame.push(b'}');
    frame.into()
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            let bytes = match std::mem::replace(&mut self.next, Next::Nothing) {
                Next::Start => {
                    self.next = Next::Events;
                    connect::frame(&WatchDirResponse::Start {})
                }
                Next::Events => {
                    self.next = Next::Events;
                    match self.poll_event(context) {
                        Poll::Ready(Some(bytes)) => bytes,
                        Poll::Ready(None) => continue,
                        Poll::Pending => return Poll::Pending,
                    }
                }
                Next::Close(error) => connect::end_frame(Some(error)),
                Next::Nothing => return Poll::Ready(None),
            };
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
    }
}
