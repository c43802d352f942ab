//! What is asked of a driver, and the envelope in which it travels.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sandscope_lives::{Connected, Snapshot, SnapshotName};
use sandscope_model::{KillReason, Origin, Sandbox, Uptime};
use tokio::sync::oneshot;

use crate::RequestError;
use crate::admission::Ask;

/// A request on its way to a driver.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) asked_at: Uptime,
    pub(crate) origin: Origin,
    pub(crate) request: Request,
}

/// How long a sandbox shall run from now, and how many of its team may run at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    pub(crate) timeout: Duration,
    pub(crate) max_concurrent: u32,
}

#[derive(Debug)]
pub(crate) enum Request {
    Kill {
        reason: KillReason,
        reply: Reply<()>,
    },
    Pause {
        reply: Reply<()>,
    },
    Resume {
        lease: Lease,
        reply: Reply<Arc<Sandbox>>,
    },
    Connect {
        lease: Lease,
        reply: Reply<Connected>,
    },
    /// For what was left of its time.
    CarryOn {
        otherwise: Lease,
        reply: Reply<Connected>,
    },
    Wake {
        lease: Lease,
        reply: Reply<Arc<Sandbox>>,
    },
    SetTimeout {
        timeout: Duration,
        reply: Reply<()>,
    },
    Refresh {
        duration: Duration,
        reply: Reply<()>,
    },
    Checkpoint {
        name: Option<SnapshotName>,
        reply: Reply<Snapshot>,
    },
}

impl Request {
    pub(crate) const fn ask(&self) -> Ask {
        match self {
            Self::Kill { .. } => Ask::Kill,
            Self::Pause { .. } => Ask::Pause,
            Self::Resume { .. } => Ask::Resume,
            Self::Connect { .. } => Ask::Connect,
            Self::Wake { .. } | Self::CarryOn { .. } => Ask::Wake,
            Self::SetTimeout { .. } => Ask::SetTimeout,
            Self::Refresh { .. } => Ask::Refresh,
            Self::Checkpoint { .. } => Ask::Checkpoint,
        }
    }

    /// How the caller learns that it came to nothing.
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            Self::Kill { reply, .. }
            | Self::Pause { reply }
            | Self::SetTimeout { reply, .. }
            | Self::Refresh { reply, .. } => reply.refusal(),
            Self::Resume { reply, .. } | Self::Wake { reply, .. } => reply.refusal(),
            Self::Connect { reply, .. } | Self::CarryOn { reply, .. } => reply.refusal(),
            Self::Checkpoint { reply, .. } => reply.refusal(),
        }
    }
}

/// Where the answer goes. It can be given once; later answers are dropped. That the caller is gone changes nothing.
#[derive(Debug)]
pub(crate) struct Reply<T>(Arc<Mutex<Option<Answer<T>>>>);

type Answer<T> = oneshot::Sender<Result<T, RequestError>>;

impl<T> Clone for Reply<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Send + 'static> Reply<T> {
    pub(crate) fn new() -> (Self, oneshot::Receiver<Result<T, RequestError>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Arc::new(Mutex::new(Some(sender)))), receiver)
    }

    pub(crate) fn send(&self, answer: Result<T, RequestError>) {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sender) = sender {
            let _ = sender.send(answer);
        }
    }

    pub(crate) fn refusal(&self) -> Refusal {
        let reply = self.clone();
        Refusal(Box::new(move |error| reply.send(Err(error))))
    }
}

/// Lets a caller know, whatever it waits for, that it failed.
pub(crate) struct Refusal(Box<dyn FnOnce(RequestError) + Send + Sync>);

impl Refusal {
    pub(crate) fn new(answer: impl FnOnce(RequestError) + Send + Sync + 'static) -> Self {
        Self(Box::new(answer))
    }

    pub(crate) fn send(self, error: RequestError) {
        (self.0)(error);
    }
}

impl std::fmt::Debug for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Refusal")
    }
}
