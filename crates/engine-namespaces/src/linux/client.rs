//! The server's end of the launcher: requests out, replies in, a new launcher where the old one is gone.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use super::channel;
use super::options::LinuxOptions;
use super::protocol::{Done, Failure, InStep as _, Operation, Reply, Request};
use super::sys;

/// How long any request may take: beyond what each of its steps is given.
const REPLY_LIMIT: Duration = Duration::from_secs(30);

type Answer = Result<(Done, Vec<OwnedFd>), Failure>;
type Waiting = Mutex<HashMap<u64, oneshot::Sender<Answer>>>;

/// Talks to a launcher, and starts one whenever there is none.
#[derive(Debug)]
pub(crate) struct LauncherClient {
    command: (std::path::PathBuf, Vec<std::ffi::OsString>),
    next_number: AtomicU64,
    current: tokio::sync::Mutex<Option<Arc<Connection>>>,
}

#[derive(Debug)]
struct Connection {
    socket: AsyncFd<OwnedFd>,
    waiting: Waiting,
    pid: u32,
}

impl LauncherClient {
    pub(crate) fn new(options: &LinuxOptions) -> Self {
        Self {
            command: (options.launcher.clone(), options.launcher_args.clone()),
            next_number: AtomicU64::new(1),
            current: tokio::sync::Mutex::new(None),
        }
    }

    /// Sends a request and waits for its reply. Dropping the future discards the reply, not the work.
    pub(crate) async fn call(&self, operation: Operation, fds: &[BorrowedFd<'_>]) -> Answer {
        let step = "ask the launcher";
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let connection = self.connection().await.step("start the launcher")?;
        let (answer, answered) = oneshot::channel();
        connection.waiting().insert(number, answer);
        let _forget = Forget { connection: &connection, number };
        let request = Request { number, operation };
        connection
            .socket
            .async_io(Interest::WRITABLE, |socket| channel::send(socket, &request, fds))
            .await
            .step(step)?;
        match tokio::time::timeout(REPLY_LIMIT, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Failure::new(step, "it went away")),
            Err(_) => Err(Failure::new(step, "no answer in time")),
        }
    }

    async fn connection(&self) -> io::Result<Arc<Connection>> {
        let mut current = self.current.lock().await;
        if let Some(connection) = current.as_ref().filter(|connection| connection.is_alive()) {
            return Ok(Arc::clone(connection));
        }
        let connection = self.start()?;
        *current = Some(Arc::clone(&connection));
        Ok(connection)
    }

    fn start(&self) -> io::Result<Arc<Connection>> {
        let (ours, theirs) = channel::pair()?;
        let (program, arguments) = &self.command;
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let connection = Arc::new(Connection {
            socket: sys::watch(ours, Interest::READABLE | Interest::WRITABLE)?,
            waiting: Mutex::default(),
            pid: child.id(),
        });
        tokio::spawn(read_replies(Arc::clone(&connection), child));
        Ok(connection)
    }

    /// The launcher's process, if one runs. For tests that end it.
    pub(crate) async fn pid(&self) -> Option<u32> {
        self.current.lock().await.as_ref().filter(|connection| connection.is_alive()).map(|c| c.pid)
    }

    /// Lets the launcher go: it leaves when its socket is closed.
    pub(crate) async fn close(&self) {
        if let Some(connection) = self.current.lock().await.take() {
            let _already_closed =
                rustix::net::shutdown(connection.socket.get_ref(), rustix::net::Shutdown::Both);
        }
    }
}

impl Connection {
    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A dead launcher's end is readable for ever; a live one's says nothing here.
    fn is_alive(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec};
        let mut look = [PollFd::new(self.socket.get_ref(), PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(rustix::event::poll(&mut look, Some(&now)), Ok(0))
    }
}

/// Takes a request off the list when its caller is gone.
struct Forget<'a> {
    connection: &'a Connection,
    number: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.connection.waiting().remove(&self.number);
    }
}

/// Makes a connection useless once nobody reads it any more, also after a panic: callers get an error at once, and the
/// next request starts another launcher.
struct Hangup(Arc<Connection>);

impl Drop for Hangup {
    fn drop(&mut self) {
        let _already_closed = rustix::net::shutdown(self.0.socket.get_ref(), rustix::net::Shutdown::Both);
        self.0.waiting().clear();
    }
}

async fn read_replies(connection: Arc<Connection>, mut child: Child) {
    let hangup = Hangup(Arc::clone(&connection));
    loop {
        let read = connection
            .socket
            .async_io(Interest::READABLE, |socket| channel::receive::<Reply>(socket.as_fd()))
            .await;
        match read {
            Ok(Some((Reply { number, result }, fds))) => {
                // Nobody waiting any more: the descriptors close here.
                if let Some(answer) = connection.waiting().remove(&number) {
                    let _caller_gone = answer.send(result.map(|done| (done, fds)));
                }
            }
            Ok(None) => break,
            Err(error) => {
                tracing::error!(%error, "unreadable message from the launcher");
                break;
            }
        }
    }
    drop(hangup);
    match tokio::task::spawn_blocking(move || child.wait()).await {
        Ok(Ok(status)) if status.success() => tracing::debug!("launcher left"),
        Ok(Ok(status)) => tracing::warn!(%status, "launcher ended; sandboxes live on"),
        Ok(Err(error)) => tracing::warn!(%error, "launcher cannot be collected"),
        Err(error) => tracing::warn!(%error, "launcher cannot be collected"),
    }
}
