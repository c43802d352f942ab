//! `sandscope sandbox connect`, and `exec --tty`: a terminal in a sandbox on ours.
//!
//! ```text
//! keys ─► thread ─► bounded queue ─► Ctrl-] twice? ─► SendInput ─► remote terminal ─► events ─► our screen
//! our window changes ─► Update ─────────────────────────────────────▲
//! ```
//!
//! Our terminal is raw meanwhile, and restored however this ends: the shell's end, Ctrl-] twice, a signal, a broken
//! connection. A shell we leave is ended, as if its terminal had been hung up.

use std::process::ExitCode;

use anyhow::Context as _;
use bytes::Bytes;
use sandscope_client::{Client, Command, ProcessEvent, ProcessStream, Sandbox, Signal};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::arguments::ConnectArgs;
use crate::commands::exec::{code, read_stdin, started};
use crate::commands::{as_wanted, client, enter};
use crate::terminal::{self, RawMode};
use sandscope_console::output;

/// Ctrl-]
const ESCAPE: u8 = 0x1d;

const KEY_BYTES: usize = 4096;

pub(crate) async fn run(arguments: ConnectArgs) -> anyhow::Result<ExitCode> {
    let ConnectArgs { id, process, server } = arguments;
    let client = client(server)?;
    let sandbox = enter(&client, &id).await?;
    let shell = Command {
        cmd: "/bin/bash".to_owned(),
        args: vec!["-i".to_owned(), "-l".to_owned()],
        ..Command::default()
    };
    attach(&client, &sandbox, as_wanted(shell, process)).await
}

/// How a terminal session ended.
enum End {
    Ended(ExitCode),
    /// The user left, or something asked us to end.
    Left,
}

/// Runs `command` on a terminal of its own, shown on ours.
pub(crate) async fn attach(
    client: &Client,
    sandbox: &Sandbox,
    mut command: Command,
) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        terminal::is_there(),
        "standard input and output must be a terminal; without one use `sandscope sandbox exec` without --tty"
    );
    let size = terminal::size();
    command.terminal = Some(size);
    let term = std::env::var("TERM").unwrap_or_else(|_| "xterm-256color".to_owned());
    for (name, value) in [("TERM", term.as_str()), ("LANG", "C.UTF-8"), ("LC_ALL", "C.UTF-8")] {
        command.envs.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    // Refusals are printed on a restored terminal.
    let mut stream = client.start(sandbox, &command).await?;
    let pid = started(&mut stream).await?;
    let raw = RawMode::enter().context("cannot take over the terminal")?;
    let end = session(client, sandbox, pid, stream, size).await;
    match end {
        Ok(End::Ended(code)) => {
            drop(raw);
            Ok(code)
        }
        Ok(End::Left) => {
            raw.undo_all();
            // It ignores a polite request, as interactive shells do.
            let _ = client.signal(sandbox, pid, Signal::Kill).await;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            raw.undo_all();
            Err(error)
        }
    }
}

async fn session(
    client: &Client,
    sandbox: &Sandbox,
    pid: u32,
    mut stream: ProcessStream,
    mut size: sandscope_client::TerminalSize,
) -> anyhow::Result<End> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut resized = signal(SignalKind::window_change())?;
    let (keys, queued) = mpsc::channel(16);
    tokio::spawn(type_keys(client.clone(), sandbox.clone(), pid, queued));
    let mut input = read_stdin(KEY_BYTES);
    let mut escape = Escape::default();
    loop {
        tokio::select! {
            event = stream.next() => match event? {
                Some(ProcessEvent::Terminal(bytes) | ProcessEvent::Stdout(bytes)) => output::raw_stdout(&bytes)?,
                Some(ProcessEvent::Stderr(bytes)) => output::raw_stderr(&bytes)?,
                Some(ProcessEvent::Started { .. }) => {}
                Some(ProcessEvent::Ended { exit_code, status }) => return Ok(End::Ended(code(exit_code, &status))),
                None => anyhow::bail!("the stream ended before the terminal did"),
            },
            piece = input.recv() => match piece {
                Some(piece) if escape.is_in(&piece) => return Ok(End::Left),
                // A queue that is full holds up the keyboard, not the screen: what is typed meanwhile waits there.
                Some(piece) => if let Err(mpsc::error::TrySendError::Full(piece)) = keys.try_send(piece) {
                    let sent = keys.send(piece);
                    tokio::select! {
                        _ = sent => {}
                        _ = terminate.recv() => return Ok(End::Left),
                    }
                },
                None => return Ok(End::Left),
            },
            _ = resized.recv() => {
                // Our window may have been changed while we were starting, or twice: only the last size counts.
                let now = terminal::size();
                if now != size {
                    size = now;
                    let _ = client.resize(sandbox, pid, size).await;
                }
            }
            _ = terminate.recv() => return Ok(End::Left),
            _ = hang_up.recv() => return Ok(End::Left),
        }
    }
}

/// Types what was typed, in order.
async fn type_keys(client: Client, sandbox: Sandbox, pid: u32, mut queued: mpsc::Receiver<Bytes>) {
    while let Some(piece) = queued.recv().await {
        let mut keys = piece.to_vec();
        while let Ok(more) = queued.try_recv() {
            keys.extend_from_slice(&more);
        }
        // It has ended: the events say so.
        if client.send_keys(&sandbox, pid, keys.into()).await.is_err() {
            return;
        }
    }
}

/// Watches for Ctrl-] typed twice in a row.
#[derive(Debug, Default)]
struct Escape {
    typed_once: bool,
}

impl Escape {
    fn is_in(&mut self, piece: &[u8]) -> bool {
        for byte in piece {
            let is_escape = *byte == ESCAPE;
            if is_escape && self.typed_once {
                return true;
            }
            self.typed_once = is_escape;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_twice_in_a_row_leaves() {
        let mut escape = Escape::default();
        assert!(!escape.is_in(b"vim\x1d"));
        assert!(!escape.is_in(b"x\x1dx\x1d"));
        assert!(escape.is_in(b"\x1d"));
    }
}
