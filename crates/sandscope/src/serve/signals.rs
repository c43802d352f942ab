use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Asked to stop: SIGTERM (service managers) or SIGINT (Ctrl-C). Asked how it is: SIGUSR1.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    report: Signal,
}

impl Signals {
    /// Takes the signals over from their default, which is to end the process.
    pub(crate) fn take() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            report: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for being asked to stop; the signal's name.
    pub(crate) async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.report.recv() => report("as asked by SIGUSR1"),
            }
        }
    }
}

/// Tells in the log what is alive in this process and cannot be seen from outside: a number that grows while the
/// load does not is a leak.
pub(crate) fn report(occasion: &'static str) {
    let n_tasks = Handle::current().metrics().num_alive_tasks();
    tracing::info!(n_tasks, occasion, "alive");
}
