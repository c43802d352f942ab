use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Asked to stop: SIGTERM (service managers) or SIGINT (Ctrl-C). Asked to read certificate and configuration again:
/// SIGHUP. Asked how it is: SIGUSR1.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    report: Signal,
    hang_up: Option<Signal>,
}

/// What was asked of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To stop, by the signal of this name.
    Stop(&'static str),
    /// To read again what may change while it runs.
    Reload,
}

impl Signals {
    /// Takes the signals over from their default, which is to end the process; SIGHUP only if asked to.
    ///
    /// # Errors
    /// What the system says if a handler cannot be installed.
    pub fn take(with_hang_up: bool) -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            report: signal(SignalKind::user_defined1())?,
            hang_up: with_hang_up.then(|| signal(SignalKind::hangup())).transpose()?,
        })
    }

    /// Waits for being asked to stop or to reload.
    pub async fn next(&mut self) -> Asked {
        loop {
            let hang_up = async {
                match &mut self.hang_up {
                    Some(hang_up) => hang_up.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.terminate.recv() => return Asked::Stop("SIGTERM"),
                _ = self.interrupt.recv() => return Asked::Stop("SIGINT"),
                _ = hang_up => return Asked::Reload,
                _ = self.report.recv() => report("as asked by SIGUSR1"),
            }
        }
    }

    /// Waits for being asked to stop; the signal's name.
    pub async fn stop(&mut self) -> &'static str {
        loop {
            if let Asked::Stop(name) = self.next().await {
                return name;
            }
        }
    }
}

/// Logs what is alive in this process and cannot be seen from outside: a number that grows while the
/// load does not is a leak.
pub(crate) fn report(occasion: &'static str) {
    let n_tasks = Handle::current().metrics().num_alive_tasks();
    tracing::info!(n_tasks, occasion, "alive");
}
