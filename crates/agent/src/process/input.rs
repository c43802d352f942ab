use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::termios::{Winsize, tcsetwinsize};
use sandscope_agent_protocol::process::{ProcessInput, PtySize};
use sandscope_agent_protocol::{Code, ConnectError};
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::Mutex;

/// A terminal's master side; output and input share it.
pub(crate) type Terminal = Rc<AsyncFd<OwnedFd>>;

/// Where a process reads from. The lock is held while writing, so that two inputs never mix.
pub(crate) struct Input {
    pipe: Mutex<Option<pipe::Sender>>,
    terminal: RefCell<Option<Terminal>>,
    writes: Mutex<()>,
}

impl Input {
    pub(crate) fn new(pipe: Option<pipe::Sender>, terminal: Option<Terminal>) -> Self {
        Self { pipe: Mutex::new(pipe), terminal: RefCell::new(terminal), writes: Mutex::new(()) }
    }

    /// Writes all of it. Waits while the process does not read; callers bound that.
    pub(crate) async fn write(&self, input: &ProcessInput) -> Result<(), ConnectError> {
        match input {
            ProcessInput::Stdin(bytes) => {
                let pipe = self.pipe.lock().await;
                let Some(pipe) = pipe.as_ref() else {
                    let message = "stdin is not open: started without it, on a terminal, or closed before";
                    return Err(ConnectError::new(Code::FailedPrecondition, message));
                };
                write_all(&bytes.0, async || pipe.writable().await, |rest| pipe.try_write(rest)).await
            }
            ProcessInput::Pty(bytes) => {
                let terminal = self.terminal()?;
                let _turn = self.writes.lock().await;
                write_terminal(&terminal, &bytes.0).await
            }
        }
    }

    /// Ends standard input: the process reads an end of file. Closing twice is fine.
    pub(crate) async fn close(&self) -> Result<(), ConnectError> {
        if self.terminal.borrow().is_some() {
            let message = "a terminal's input cannot be closed; send an end-of-transmission (0x04) instead";
            return Err(ConnectError::new(Code::FailedPrecondition, message));
        }
        self.pipe.lock().await.take();
        Ok(())
    }

    /// The process ended: nothing will be read any more.
    pub(crate) async fn release(&self) {
        self.terminal.take();
        self.pipe.lock().await.take();
    }

    pub(crate) fn resize(&self, size: PtySize) -> Result<(), ConnectError> {
        let terminal = self.terminal()?;
        tcsetwinsize(terminal.get_ref(), winsize(size)).map_err(|error| internal(&error.into()))
    }

    fn terminal(&self) -> Result<Terminal, ConnectError> {
        self.terminal.borrow().clone().ok_or_else(|| {
            ConnectError::new(Code::FailedPrecondition, "the process was not started on a terminal")
        })
    }
}

pub(crate) fn winsize(size: PtySize) -> Winsize {
    let cells = |count: u32| u16::try_from(count).unwrap_or(u16::MAX);
    Winsize { ws_row: cells(size.rows), ws_col: cells(size.cols), ws_xpixel: 0, ws_ypixel: 0 }
}

async fn write_all(
    mut rest: &[u8],
    writable: impl AsyncFn() -> io::Result<()>,
    try_write: impl Fn(&[u8]) -> io::Result<usize>,
) -> Result<(), ConnectError> {
    while !rest.is_empty() {
        writable().await.map_err(|error| internal(&error))?;
        match try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(internal(&error)),
        }
    }
    Ok(())
}

async fn write_terminal(terminal: &Terminal, mut rest: &[u8]) -> Result<(), ConnectError> {
    while !rest.is_empty() {
        let mut ready = terminal.writable().await.map_err(|error| internal(&error))?;
        match ready.try_io(|fd| Ok(rustix::io::write(fd, rest)?)) {
            Ok(Ok(written)) => rest = &rest[written..],
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(Err(error)) => return Err(internal(&error)),
            Err(_would_block) => {}
        }
    }
    Ok(())
}

fn internal(error: &io::Error) -> ConnectError {
    ConnectError::new(Code::Internal, format!("error writing to the process: {error}"))
}
