use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use sandscope_agent_protocol::process::{ProcessEvent, ProcessResponse};
use sandscope_agent_protocol::{Code, ConnectError};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, interval_at, sleep_until};

use super::fanout::Message;
use super::table::Process;
use crate::connect;

/// The answer of `Start` and `Connect`: the start event, then whatever the process says, then how it ended.
pub(crate) struct EventStream {
    next: Next,
    start: Bytes,
    /// Of a process that ended before the stream began.
    end: Option<Bytes>,
    messages: mpsc::Receiver<Message>,
    keepalive: Interval,
    deadline: Option<Pin<Box<Sleep>>>,
}

enum Next {
    Start,
    Events,
    Close(Option<ConnectError>),
    Nothing,
}

impl EventStream {
    pub(crate) fn new(
        process: &Process,
        every: Duration,
        deadline: Option<Instant>,
    ) -> Result<Self, ConnectError> {
        let mut keepalive = interval_at(Instant::now() + every, every);
        keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let start = ProcessEvent::Start { pid: process.number() };
        Ok(Self {
            next: Next::Start,
            start: connect::frame(&ProcessResponse::from(start)),
            messages: process.fanout.subscribe()?,
            // Asked after subscribing, and nothing runs in between: no end can be missed.
            end: process.end.borrow().clone(),
            keepalive,
            deadline: deadline.map(|at| Box::pin(sleep_until(at))),
        })
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(end) = self.end.take() {
            self.next = Next::Close(None);
            return Poll::Ready(Some(end));
        }
        // Before the messages: at the time limit the process is killed, and the caller must learn why.
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            self.next = Next::Close(Some(connect::too_late()));
            return Poll::Ready(None);
        }
        match self.messages.poll_recv(context) {
            Poll::Ready(Some(Message::Event(bytes))) => {
                self.keepalive.reset();
                return Poll::Ready(Some(bytes));
            }
            Poll::Ready(Some(Message::End(bytes))) => {
                self.next = Next::Close(None);
                return Poll::Ready(Some(bytes));
            }
            Poll::Ready(None) => {
                let message = "the output was read too slowly and part of it is lost; the process runs on";
                self.next = Next::Close(Some(ConnectError::new(Code::ResourceExhausted, message)));
                return Poll::Ready(None);
            }
            Poll::Pending => {}
        }
        if self.keepalive.poll_tick(context).is_ready() {
            let keepalive = ProcessResponse::from(ProcessEvent::Keepalive {});
            return Poll::Ready(Some(connect::frame(&keepalive)));
        }
        Poll::Pending
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            let bytes = match &mut self.next {
                Next::Start => {
                    self.next = Next::Events;
                    std::mem::take(&mut self.start)
                }
                Next::Events => match self.poll_event(context) {
                    Poll::Ready(Some(bytes)) => bytes,
                    Poll::Ready(None) => continue,
                    Poll::Pending => return Poll::Pending,
                },
                Next::Close(error) => {
                    let error = error.take();
                    self.next = Next::Nothing;
                    connect::end_frame(error)
                }
                Next::Nothing => return Poll::Ready(None),
            };
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
    }
}
