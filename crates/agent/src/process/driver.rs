use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Signal, WaitStatus, kill_process_group};
use sandscope_agent_protocol::Blob;
use sandscope_agent_protocol::logs::Source;
use sandscope_agent_protocol::process::{
    EndEvent, OUTPUT_CHUNK_BYTES, Output, PTY_CHUNK_BYTES, ProcessEvent, ProcessResponse,
};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::fanout::Message;
use super::input::Terminal;
use super::stdio::Outputs;
use super::table::{Process, ProcessPermit, ProcessTable};
use crate::connect;

/// How long the end of a process waits for descendants that still hold its output open.
pub(crate) const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// Reads a process's output until it ended, announces that, and sees to what it leaves behind.
pub(crate) async fn drive(
    table: Rc<ProcessTable>,
    process: Rc<Process>,
    outputs: Outputs,
    mut exit: oneshot::Receiver<WaitStatus>,
    deadline: Option<Instant>,
    place: ProcessPermit,
) {
    let mut pumps = pin!(pump_all(&process, outputs));
    let mut pumping = true;
    let mut limited = deadline.is_some();
    let mut time_limit = pin!(sleep_until(deadline.unwrap_or_else(Instant::now)));
    let status = loop {
        tokio::select! {
            biased;
            status = &mut exit => break status.ok(),
            () = &mut time_limit, if limited => {
                limited = false;
                // It may have ended in this very moment.
                let _ = kill_process_group(process.pid, Signal::KILL);
            }
            () = &mut pumps, if pumping => pumping = false,
        }
    };
    if pumping {
        pumping = timeout(DRAIN_LIMIT, &mut pumps).await.is_err();
    }
    let end = end_event(status);
    process.log.ended(&end.status);
    let end = connect::frame(&ProcessResponse::from(ProcessEvent::End(end)));
    process.end.replace(Some(end.clone()));
    process.fanout.send(Message::End(end)).await;
    process.fanout.close();
    process.input.release().await;
    table.remember(&process);
    if pumping {
        // A daemon left behind would die of a closed pipe.
        pumps.await;
    }
    drop(place);
}

fn end_event(status: Option<WaitStatus>) -> EndEvent {
    let status_of = |text: String, exit_code, exited| EndEvent {
        exit_code,
        exited,
        error: (exit_code != 0).then(|| text.clone()),
        status: text,
    };
    match status.map(|status| (status.exit_status(), status.terminating_signal())) {
        Some((Some(code), _)) => status_of(format!("exit status {code}"), code, true),
        Some((_, Some(signal))) => status_of(format!("signal: {}", signal_name(signal)), -1, false),
        _ => status_of("exit status unknown".to_owned(), -1, false),
    }
}

/// In the words that clients of the original see.
fn signal_name(signal: i32) -> String {
    match signal {
        libc::SIGHUP => "hangup",
        libc::SIGINT => "interrupt",
        libc::SIGQUIT => "quit",
        libc::SIGILL => "illegal instruction",
        libc::SIGTRAP => "trace/breakpoint trap",
        libc::SIGABRT => "aborted",
        libc::SIGBUS => "bus error",
        libc::SIGFPE => "floating point exception",
        libc::SIGKILL => "killed",
        libc::SIGUSR1 => "user defined signal 1",
        libc::SIGSEGV => "segmentation fault",
        libc::SIGUSR2 => "user defined signal 2",
        libc::SIGPIPE => "broken pipe",
        libc::SIGALRM => "alarm clock",
        libc::SIGTERM => "terminated",
        libc::SIGXCPU => "CPU time limit exceeded",
        libc::SIGXFSZ => "file size limit exceeded",
        libc::SIGSYS => "bad system call",
        other => return format!("signal {other}"),
    }
    .to_owned()
}

async fn pump_all(process: &Process, outputs: Outputs) {
    match outputs {
        Outputs::Pipes { stdout, stderr } => {
            tokio::join!(
                pump_pipe(process, stdout, Output::Stdout, Source::Stdout),
                pump_pipe(process, stderr, Output::Stderr, Source::Stderr)
            );
        }
        Outputs::Terminal(terminal) => pump_terminal(process, terminal).await,
    }
}

/// Until the pipe's last writer is gone.
async fn pump_pipe(process: &Process, pipe: pipe::Receiver, output: fn(Blob) -> Output, source: Source) {
    loop {
        if pipe.readable().await.is_err() {
            break;
        }
        match read_chunk::<OUTPUT_CHUNK_BYTES>(|buffer| pipe.try_read(buffer)) {
            Ok(Some(chunk)) => announce(process, output, source, chunk).await,
            Ok(None) => break,
            Err(error) if waits(&error) => {}
            Err(_) => break,
        }
    }
    process.log.finish(source);
}

/// Until the last process on the terminal is gone: the kernel then answers EIO.
async fn pump_terminal(process: &Process, terminal: Terminal) {
    loop {
        let Ok(mut ready) = terminal.readable().await else {
            return;
        };
        let read =
            ready.try_io(|fd| read_chunk::<PTY_CHUNK_BYTES>(|buffer| Ok(rustix::io::read(fd, buffer)?)));
        match read {
            Ok(Ok(Some(chunk))) => announce(process, Output::Pty, Source::Pty, chunk).await,
            Ok(Err(error)) if waits(&error) => {}
            Err(_would_block) => {}
            Ok(Ok(None) | Err(_)) => return,
        }
    }
}

fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// One read; `None` at the end. The buffer is on the stack for the moment of the read only: many idle processes
/// must not hold a chunk each.
#[inline(never)]
fn read_chunk<const N: usize>(
    read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
) -> io::Result<Option<Bytes>> {
    let mut buffer = [0; N];
    match read(&mut buffer)? {
        0 => Ok(None),
        count => Ok(Some(Bytes::copy_from_slice(&buffer[..count]))),
    }
}

async fn announce(process: &Process, output: fn(Blob) -> Output, source: Source, chunk: Bytes) {
    process.log.take(source, &chunk);
    if process.fanout.has_readers() {
        let event = ProcessEvent::Data(output(Blob(chunk)));
        process.fanout.send(Message::Event(connect::frame(&ProcessResponse::from(event)))).await;
    }
}
