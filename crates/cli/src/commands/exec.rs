//! `sandscope sandbox exec`: a command in a sandbox, as if it ran here.
//!
//! ```text
//! standard input ─► thread ─► bounded queue ─► SendInput … CloseStdin ─┐
//!                                                                      ▼
//! standard output, error ◄── Start's stream of events ◄──────────── process
//! Ctrl-C, SIGTERM, SIGHUP ─► SIGTERM, the second time SIGKILL ─────────▲
//! ```
//!
//! The command's end is ours: input that nobody reads any more is not waited for.

use std::io::{ErrorKind, Read as _};
use std::process::ExitCode;

use anyhow::Context as _;
use bytes::Bytes;
use sandscope_client::{Client, Command, ProcessEvent, ProcessStream, Sandbox, Signal};
use tokio::signal::unix::{Signal as Caught, SignalKind, signal};
use tokio::sync::mpsc;

use crate::arguments::ExecArgs;
use crate::commands::{as_wanted, client, connect, enter};
use sandscope_console::output;

/// What we end with if we, and not the command, failed.
const OUR_FAULT: u8 = 125;
/// After Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;
/// Nobody reads our output any more, as shells have it.
const BROKEN_PIPE: u8 = 141;

/// Input on its way: pieces, and the size of one.
const INPUT_QUEUE: usize = 4;
const INPUT_BYTES: usize = 64 * 1024;

pub(crate) async fn run(arguments: ExecArgs) -> ExitCode {
    match exec(arguments).await {
        Ok(code) => code,
        Err(error) => {
            output::complain(&error);
            ExitCode::from(OUR_FAULT)
        }
    }
}

async fn exec(arguments: ExecArgs) -> anyhow::Result<ExitCode> {
    let ExecArgs { id, command, process, background, tty, no_stdin, server } = arguments;
    let client = client(server)?;
    let sandbox = enter(&client, &id).await?;
    let mut command = as_wanted(Command::shell(&script(&command)), process);
    if tty {
        return connect::attach(&client, &sandbox, command).await;
    }
    command.stdin = !no_stdin && !background;
    let mut stream = client.start(&sandbox, &command).await?;
    let pid = started(&mut stream).await?;
    if background {
        output::line(pid)?;
        return Ok(ExitCode::SUCCESS);
    }
    if command.stdin {
        tokio::spawn(forward_input(client.clone(), sandbox.clone(), pid));
    }
    attend(&client, &sandbox, pid, stream).await
}

/// One argument is a script as it is; several are words that no shell shall change.
fn script(command: &[String]) -> String {
    match command {
        [script] => script.clone(),
        words => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    }
}

fn quoted(word: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_./=:@%+,".contains(char);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The process id, which comes first.
pub(crate) async fn started(stream: &mut ProcessStream) -> anyhow::Result<u32> {
    match stream.next().await? {
        Some(ProcessEvent::Started { pid }) => Ok(pid),
        _ => anyhow::bail!("the sandbox did not say that it started the command"),
    }
}

async fn forward_input(client: Client, sandbox: Sandbox, pid: u32) {
    let mut input = read_stdin(INPUT_BYTES);
    while let Some(piece) = input.recv().await {
        // It has closed its input or ended: its events report what becomes of it.
        if client.send_stdin(&sandbox, pid, piece).await.is_err() {
            return;
        }
    }
    // As above.
    let _ = client.close_stdin(&sandbox, pid).await;
}

/// Standard input, piece by piece; ends with it. The thread is one of its own because a read cannot be canceled: it
/// must not keep the program from ending.
pub(crate) fn read_stdin(piece_bytes: usize) -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(INPUT_QUEUE);
    let read = move || {
        let mut buffer = vec![0; piece_bytes];
        loop {
            match std::io::stdin().lock().read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return,
                Ok(n_bytes) => {
                    if sender.blocking_send(Bytes::copy_from_slice(&buffer[..n_bytes])).is_err() {
                        return;
                    }
                }
            }
        }
    };
    // Without a thread there is no input, as if it had ended.
    let _ = std::thread::Builder::new().name("stdin".to_owned()).spawn(read);
    receiver
}

/// What asks us to end.
struct Asked {
    interrupt: Caught,
    terminate: Caught,
    hang_up: Caught,
}

impl Asked {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Whether it was Ctrl-C.
    async fn next(&mut self) -> bool {
        tokio::select! {
            _ = self.interrupt.recv() => true,
            _ = self.terminate.recv() => false,
            _ = self.hang_up.recv() => false,
        }
    }
}

/// Passes on what the command writes until it ends.
async fn attend(
    client: &Client,
    sandbox: &Sandbox,
    pid: u32,
    mut stream: ProcessStream,
) -> anyhow::Result<ExitCode> {
    let mut asked = Asked::listen().context("cannot listen for signals")?;
    let (mut n_asked, mut interrupted) = (0_u32, false);
    loop {
        let event = tokio::select! {
            event = stream.next() => event.context("the command may still run")?,
            by_key = asked.next() => {
                interrupted |= by_key;
                n_asked += 1;
                let signal = if n_asked == 1 { Signal::Terminate } else { Signal::Kill };
                // It may have ended this very moment.
                let _ = client.signal(sandbox, pid, signal).await;
                continue;
            }
        };
        let written = match event {
            Some(ProcessEvent::Stdout(bytes) | ProcessEvent::Terminal(bytes)) => output::raw_stdout(&bytes),
            Some(ProcessEvent::Stderr(bytes)) => output::raw_stderr(&bytes),
            Some(ProcessEvent::Started { .. }) => Ok(()),
            Some(ProcessEvent::Ended { .. }) if interrupted => return Ok(ExitCode::from(INTERRUPTED)),
            Some(ProcessEvent::Ended { exit_code, status }) => return Ok(code(exit_code, &status)),
            None => anyhow::bail!("the stream ended before the command did; it may still run"),
        };
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                let _ = client.signal(sandbox, pid, Signal::Terminate).await;
                return Ok(ExitCode::from(BROKEN_PIPE));
            }
            written => written?,
        }
    }
}

/// What a shell would say: the code, or 128 and the number of the signal.
pub(crate) fn code(exit_code: i32, status: &str) -> ExitCode {
    ExitCode::from(code_number(exit_code, status))
}

fn code_number(exit_code: i32, status: &str) -> u8 {
    const SIGNALS: [(&str, u8); 18] = [
        ("hangup", 1),
        ("interrupt", 2),
        ("quit", 3),
        ("illegal instruction", 4),
        ("trace/breakpoint trap", 5),
        ("aborted", 6),
        ("bus error", 7),
        ("floating point exception", 8),
        ("killed", 9),
        ("user defined signal 1", 10),
        ("segmentation fault", 11),
        ("user defined signal 2", 12),
        ("broken pipe", 13),
        ("alarm clock", 14),
        ("terminated", 15),
        ("CPU time limit exceeded", 24),
        ("file size limit exceeded", 25),
        ("bad system call", 31),
    ];
    if let Ok(code) = u8::try_from(exit_code) {
        return code;
    }
    let Some(name) = status.strip_prefix("signal: ") else { return u8::MAX };
    let known = SIGNALS.iter().find_map(|(known, number)| (*known == name).then_some(*number));
    let number = known.or_else(|| name.strip_prefix("signal ")?.parse().ok());
    number.map_or(u8::MAX, |number| number.saturating_add(128))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_argument_is_a_script_and_several_are_words() {
        let script =
            |words: &[&str]| super::script(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(script(&["echo $HOME | wc -c"]), "echo $HOME | wc -c");
        assert_eq!(script(&["printf", "%s", "it's $HOME", ""]), r"printf %s 'it'\''s $HOME' ''");
    }

    #[test]
    fn ends_are_numbers_as_in_a_shell() {
        let ends =
            [(0, "exit status 0"), (3, "exit status 3"), (-1, "signal: killed"), (-1, "signal: signal 40")];
        assert_eq!(ends.map(|(code, status)| code_number(code, status)), [0, 3, 137, 168]);
        assert_eq!(code_number(-1, "exit status unknown"), 255);
    }
}
