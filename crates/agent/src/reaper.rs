//! The only one who waits for children.
//!
//! As the first process of its namespace the agent is handed every orphan, so children end that it never
//! started. Waiting in two places would let one steal the other's exit status; here one task waits for any child
//! and hands the status on if somebody asked for that process id.
//!
//! ```text
//! SIGCHLD ──► waitpid(any) until none is left ──┬─► expected: status to its driver
//!                                               └─► orphan: discarded
//! ```
//!
//! A driver asks in the same poll in which it started the process, and this is one thread: the reaper cannot
//! come between. A signal that arrives while reaping is not lost either, tokio remembers it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use rustix::process::{Pid, WaitOptions, WaitStatus};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, oneshot};

/// How many are reaped before somebody else has a turn: programs may end faster than one thread reaps them.
const AT_ONCE: usize = 256;

/// Who waits for which process.
#[derive(Default)]
pub(crate) struct Exits {
    expected: RefCell<HashMap<Pid, oneshot::Sender<WaitStatus>>>,
    /// Whoever waits for one to be reaped.
    reaped: Notify,
}

impl Exits {
    /// To be called without an await since the process was started.
    pub(crate) fn expect(&self, pid: Pid) -> oneshot::Receiver<WaitStatus> {
        let (sender, receiver) = oneshot::channel();
        self.expected.borrow_mut().insert(pid, sender);
        receiver
    }

    /// Whether the process has not been waited for yet, so that its id still is its own.
    pub(crate) fn expects(&self, pid: Pid) -> bool {
        self.expected.borrow().contains_key(&pid)
    }

    /// Completes once the process has been waited for.
    pub(crate) async fn gone(&self, pid: Pid) {
        loop {
            // Begun before the look: what is reaped in between is not missed.
            let reaped = self.reaped.notified();
            if !self.expects(pid) {
                return;
            }
            reaped.await;
        }
    }

    /// Reaps children that have ended: whether there may be more of them.
    fn reap(&self) -> bool {
        let more = self.reap_some();
        self.reaped.notify_waiters();
        more
    }

    fn reap_some(&self) -> bool {
        for _ in 0..AT_ONCE {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if let Some(sender) = self.expected.borrow_mut().remove(&pid) {
                        // A driver that is gone no longer wants to know.
                        let _ = sender.send(status);
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Ok(None) | Err(_) => return false,
            }
        }
        true
    }
}

/// Registers for the signal now, and reaps whenever it comes.
pub(crate) fn start(exits: &Rc<Exits>) -> io::Result<impl Future<Output = ()> + use<>> {
    let mut children = signal(SignalKind::child())?;
    let exits = Rc::clone(exits);
    Ok(async move {
        while children.recv().await.is_some() {
            while exits.reap() {
                tokio::task::yield_now().await;
            }
        }
    })
}
