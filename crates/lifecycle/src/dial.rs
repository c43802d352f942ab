//! Connections into sandboxes.

use std::sync::Arc;
use std::time::Duration;

use sandscope_engine::{Connection, DialFailure};
use sandscope_lives::{DialError, Dialed, Duplex, Waking};
use sandscope_model::{Component, Origin, Sandbox, SandboxId, StateName, within};

use crate::RequestError;
use crate::context::Handle;
use crate::lifecycle::Lifecycle;
use crate::request::{Lease, Request};

/// How long a connection waits for a sandbox that is between two states.
const TRANSITION_WAIT: Duration = Duration::from_secs(10);
/// For how long traffic resumes a sandbox, at least.
const SHORTEST_RESUME: Duration = Duration::from_secs(300);

impl Lifecycle {
    /// Connects to `127.0.0.1:port`, or else `[::1]:port`, inside a sandbox, which is resumed if it is paused,
    /// its owner wished so and `waking` allows it. Waits up to ten seconds for one that is between two states.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn dial(&self, id: &SandboxId, port: u16, waking: Waking) -> Result<Dialed, DialError> {
        let mut handle = self.context.registry.known(None, id).ok_or(DialError::NotFound)?;
        let waiting = async {
            loop {
                let sandbox = handle.view.borrow_and_update().clone();
                match sandbox.state.name() {
                    StateName::Running => match self.context.door.dial(id, port).await {
                        Ok(connection) => {
                            return Ok(Dialed { connection: duplex(connection), sandbox });
                        }
                        Err(DialFailure::PortClosed) => return Err(DialError::PortClosed),
                        Err(DialFailure::Broken(error)) => return Err(unavailable(error)),
                        // It has just stopped running; what it became will be seen next.
                        Err(DialFailure::NotRunning) => {}
                    },
                    StateName::Paused if sandbox.spec.auto_resume => {
                        if waking == Waking::Refused {
                            return Err(DialError::MayNotWake);
                        }
                        self.wake(&handle, &sandbox).await?;
                        continue;
                    }
                    StateName::Paused | StateName::Killing | StateName::Killed | StateName::Creating => {
                        return Err(DialError::NotFound);
                    }
                    StateName::Pausing | StateName::Resuming => {}
                }
                handle.view.changed().await.map_err(|_| DialError::NotFound)?;
            }
        };
        within(&*self.context.clock, TRANSITION_WAIT, waiting).await.unwrap_or(Err(DialError::Transitioning))
    }

    /// Every sandbox somebody may know about, in no order.
    pub fn sandboxes(&self) -> Vec<Arc<Sandbox>> {
        self.context.registry.all_known()
    }

    /// Resumes a paused sandbox for traffic: as long as it was given when it was made, but 300 seconds at least and no
    /// longer than the team may.
    async fn wake(&self, handle: &Handle, sandbox: &Sandbox) -> Result<(), DialError> {
        let team = self.context.facts.team(sandbox.team_id).await.map_err(unavailable)?;
        let limits = team.ok_or(DialError::NotFound)?.limits;
        let stored = Duration::from_secs(u64::from(sandbox.spec.timeout_s));
        let longest = Duration::from_secs(u64::from(limits.max_timeout_s));
        let timeout = stored.max(SHORTEST_RESUME).min(longest);
        let lease = Lease { timeout, max_concurrent: limits.max_concurrent_sandboxes };
        let traffic = self.on_behalf_of(Origin::system(Component::Traffic));
        match traffic.ask_handle(handle, |reply| Request::Wake { lease, reply }).await {
            Ok(_) => Ok(()),
            Err(RequestError::NotFound) => Err(DialError::NotFound),
            Err(RequestError::Busy | RequestError::Denied { .. }) => Err(DialError::Transitioning),
            Err(RequestError::LimitReached { limit }) => Err(DialError::LimitReached { limit }),
            Err(error) => Err(unavailable(error)),
        }
    }
}

/// The connection as a door's caller holds it: what is asked of the socket is asked before.
fn duplex(connection: Connection) -> Box<dyn Duplex> {
    connection.send_at_once();
    match connection {
        Connection::Tcp(stream) => Box::new(stream),
        Connection::Tunnel(stream) => Box::new(stream),
    }
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> DialError {
    DialError::Unavailable(Box::new(error))
}
