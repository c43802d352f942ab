//! A driver's turns: what comes, in which order, until the sandbox or the server is gone.

use std::pin::Pin;
use std::sync::Arc;

use sandscope_engine::LaunchSpec;
use sandscope_model::{Component, Origin, Sandbox, StateName};
use tokio::sync::{mpsc, oneshot, watch};

use super::held::{Driver, OomPublished};
use crate::admission::{Inbox, Turn};
use crate::context::{Context, Handle};
use crate::recovery::Plan;
use crate::request::{Envelope, Request};
use crate::slots::Slot;
use crate::{CreateError, RequestError};

/// Requests on their way to one driver.
const QUEUE: usize = 32;
/// Requests one driver has taken in and not yet heard.
const INBOX: usize = 32;

/// How a driver's work begins.
pub(crate) enum Begin {
    /// It makes the sandbox.
    Create { launch: Box<LaunchSpec>, reply: oneshot::Sender<Result<Arc<Sandbox>, CreateError>> },
    /// It takes over one that outlived the server.
    Recover { plan: Plan, done: oneshot::Sender<Result<(), RequestError>> },
}

/// A driver at work.
pub(super) type Life = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Registers a driver of `sandbox`, in place of one that failed where there was one: what the engine has reported to that one
/// is known to the new one, too.
pub(super) fn take_over(
    context: &Arc<Context>,
    sandbox: Sandbox,
    slot: Option<Slot>,
    begin: Begin,
    failed: Option<&Handle>,
) -> Life {
    let sandbox = Arc::new(sandbox);
    let (sender, requests) = mpsc::channel(QUEUE);
    let (view, viewed) = watch::channel(Arc::clone(&sandbox));
    let exit_sender = failed.map_or_else(|| watch::Sender::new(None), |failed| failed.exit.clone());
    let oom_sender = failed.map_or_else(|| watch::Sender::new(0), |failed| failed.oom.clone());
    let ailment_sender = failed.map_or_else(|| watch::Sender::new(None), |failed| failed.ailment.clone());
    let (exit, oom, ailment) = (exit_sender.subscribe(), oom_sender.subscribe(), ailment_sender.subscribe());
    let oom_published = match begin {
        Begin::Create { .. } => OomPublished::nothing(),
        Begin::Recover { .. } => OomPublished::default(),
    };
    let id = sandbox.id.clone();
    let handle = Handle {
        requests: sender,
        view: viewed,
        exit: exit_sender,
        oom: oom_sender,
        ailment: ailment_sender,
    };
    context.registry.insert(id, handle);
    let origin = asked_for_by(&sandbox);
    let driver = Driver {
        context: Arc::clone(context),
        origin,
        ends_at: sandbox.due(context.clock.stamp()),
        sandbox,
        view,
        requests,
        inbox: Inbox::new(INBOX),
        exit,
        oom,
        oom_published,
        ailment,
        slot,
        waiting: None,
        timeout_retry: None,
        over: false,
    };
    Box::pin(driver.run(begin))
}

/// Who asked for what `sandbox` is in the middle of. Where that is not known, it is the start of the server that goes
/// on with it.
fn asked_for_by(sandbox: &Sandbox) -> Origin {
    sandbox.intent_origin.clone().unwrap_or(Origin::system(Component::Recovery))
}

impl Driver {
    async fn run(mut self, begin: Begin) {
        match begin {
            Begin::Create { launch, reply } => self.create(*launch, reply).await,
            Begin::Recover { plan, done } => self.recover(plan, done).await,
        }
        while !self.over {
            self.collect();
            if self.context.draining.is_cancelled() {
                break;
            }
            if self.finish_intent().await {
                continue;
            }
            let has_died = self.exit.borrow().is_some();
            if !has_died && self.look_after().await {
                continue;
            }
            match self.inbox.next(has_died, self.due(), self.context.clock.uptime()) {
                Turn::Exit => self.bury_exited().await,
                Turn::Request(envelope) => self.serve(envelope).await,
                Turn::TimeUp => self.time_up().await,
                Turn::Nobody => self.wait().await,
            }
        }
        self.leave();
    }

    /// Does what the sandbox itself makes necessary while it lives. Whether there was anything.
    async fn look_after(&mut self) -> bool {
        if let Some(cause) = self.fatal_ailment() {
            self.end_ailing(cause).await;
            return true;
        }
        if self.oom_due().is_some_and(|due| due <= self.context.clock.uptime()) {
            self.tell_oom().await;
            return true;
        }
        false
    }

    /// Carries out a recorded intent nobody is carrying out: one that was recorded although the store said it was
    /// not. Whether there was one.
    async fn finish_intent(&mut self) -> bool {
        if self.sandbox.state.is_intent() {
            self.origin = asked_for_by(&self.sandbox);
        }
        let finished = match self.sandbox.state.name() {
            StateName::Pausing => self.finish_pause().await,
            StateName::Resuming => self.finish_resume().await,
            StateName::Killing => self.finish_kill().await,
            StateName::Creating | StateName::Running | StateName::Paused | StateName::Killed => return false,
        };
        if let Err(error) = finished {
            tracing::warn!(sandbox_id = %self.sandbox.id, %error, "an intent came to nothing");
        }
        true
    }

    /// Takes in what has arrived, as far as there is room.
    fn collect(&mut self) {
        while !self.inbox.is_full() {
            match self.requests.try_recv() {
                Ok(envelope) => self.take_in(envelope),
                Err(_) => break,
            }
        }
    }

    fn take_in(&mut self, envelope: Envelope) {
        let (ask, asked_at) = (envelope.request.ask(), envelope.asked_at);
        if let Err(envelope) = self.inbox.push(ask, asked_at, envelope) {
            envelope.request.refusal().send(RequestError::Busy);
        }
    }

    /// Waits until it may be somebody's turn.
    async fn wait(&mut self) {
        let next_due = [self.due(), self.oom_due()].into_iter().flatten().min();
        let due = next_due.map(|due| self.context.clock.sleep_until(due));
        let time_up = async {
            match due {
                Some(sleep) => sleep.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.context.draining.cancelled() => {}
            _ = self.exit.changed() => {}
            _ = self.ailment.changed() => {}
            _ = self.oom.changed() => {}
            envelope = self.requests.recv() => match envelope {
                Some(envelope) => self.take_in(envelope),
                // The registry dropped the other end: nobody can ask for anything any more.
                None => self.over = true,
            },
            () = time_up => {}
        }
    }

    /// Answers whoever still waits.
    fn leave(mut self) {
        self.requests.close();
        let killed = self.sandbox.state.name() == StateName::Killed;
        let gone = killed || self.sandbox.state.name() == StateName::Creating;
        let late: Vec<Envelope> = std::iter::from_fn(|| self.requests.try_recv().ok()).collect();
        for Envelope { request, .. } in self.inbox.drain().chain(late) {
            match request {
                // Asked for while the sandbox was on its way out: what was wanted has happened.
                Request::Kill { reply, .. } if killed => reply.send(Ok(())),
                request if gone => request.refusal().send(RequestError::NotFound),
                request => request.refusal().send(RequestError::Draining),
            }
        }
    }
}
