//! What processes write, kept for a moment so that the server can fetch it.
//!
//! ```text
//! pump of each process ──► ProcessLog: chunks to lines ──► Logs: numbers, window, ring ◄── GET /logs (the server)
//! ```
//!
//! A process never waits for any of it: what nobody fetched in time makes room, what comes too fast is only counted.
//! Lines that were not kept have numbers all the same, so the server sees how many there were.
//!
//! Bounds: [`MAX_BYTES`] for all lines that wait,
//! [`MAX_LINE_BYTES`](sandscope_agent_protocol::logs::MAX_LINE_BYTES) for the unfinished line of each output, and per
//! second as much as [`ring::WINDOW_LINES`] and [`ring::WINDOW_BYTES`] say.

mod lines;
mod ring;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use sandscope_agent_protocol::logs::{Lines, MAX_WAIT_SECONDS, Source};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::body::{self, Answer, Refusal};
use crate::now;
use lines::Unfinished;
use ring::{Ring, Text};

/// Lines that wait to be fetched, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// The lines of all processes.
pub(crate) struct Logs {
    ring: RefCell<Ring>,
    arrived: Notify,
}

impl Logs {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self { ring: RefCell::new(Ring::new(MAX_BYTES)), arrived: Notify::new() })
    }

    fn push(&self, at: i64, pid: u32, source: Source, text: Text) {
        if self.ring.borrow_mut().push(at, pid, source, text) {
            self.arrived.notify_waiters();
        }
    }

    /// What follows the line `after`, which is forgotten with all before it. Waits until there is something.
    async fn read(&self, after: u64, wait: Duration) -> Lines {
        let give_up_at = Instant::now() + wait;
        loop {
            let arrived = self.arrived.notified();
            let lines = self.ring.borrow_mut().read(after);
            if lines.upto > after || timeout_at(give_up_at, arrived).await.is_err() {
                return lines;
            }
        }
    }
}

/// `GET /logs?after=<number>&wait=<seconds>`
pub(crate) async fn answer(logs: &Logs, query: Option<&str>) -> Result<Answer, Refusal> {
    let number = |name: &str| {
        let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        let found = pairs.filter(|(found, _)| *found == name).map(|(_, value)| value).next();
        let malformed = |_| Refusal::new(StatusCode::BAD_REQUEST, format!("{name} must be a whole number"));
        found.map_or(Ok(0), |value| value.parse::<u64>().map_err(malformed))
    };
    let (after, wait) = (number("after")?, number("wait")?.min(MAX_WAIT_SECONDS));
    Ok(body::json(StatusCode::OK, &logs.read(after, Duration::from_secs(wait)).await))
}

/// The log of one process.
pub(crate) struct ProcessLog {
    logs: Rc<Logs>,
    pid: u32,
    /// What its standard output is: a pipe, or a terminal, which then is its only output.
    main: Source,
    stdout: RefCell<Unfinished>,
    stderr: RefCell<Unfinished>,
}

impl ProcessLog {
    pub(crate) fn new(logs: &Rc<Logs>, pid: u32, on_terminal: bool) -> Self {
        let (stdout, stderr) = (RefCell::default(), RefCell::default());
        let main = if on_terminal { Source::Pty } else { Source::Stdout };
        Self { logs: Rc::clone(logs), pid, main, stdout, stderr }
    }

    fn unfinished(&self, source: Source) -> &RefCell<Unfinished> {
        if source == Source::Stderr { &self.stderr } else { &self.stdout }
    }

    /// Takes what the process wrote. Never waits.
    pub(crate) fn take(&self, source: Source, chunk: &[u8]) {
        let at = now::unix_microseconds();
        let mut unfinished = self.unfinished(source).borrow_mut();
        if !self.logs.ring.borrow_mut().has_allowance(Instant::now()) {
            let n_lines = unfinished.skip(chunk);
            self.logs.ring.borrow_mut().lose(n_lines);
            return;
        }
        unfinished.take(chunk, |text| self.logs.push(at, self.pid, source, text));
    }

    /// Nothing more comes from this output.
    pub(crate) fn finish(&self, source: Source) {
        if let Some(text) = self.unfinished(source).borrow_mut().finish() {
            self.logs.push(now::unix_microseconds(), self.pid, source, text);
        }
    }

    /// The process ended.
    pub(crate) fn ended(&self, how: &str) {
        // Its last words first, even if somebody it left behind could finish the line.
        self.finish(self.main);
        self.finish(Source::Stderr);
        self.logs.push(now::unix_microseconds(), self.pid, Source::Exit, Text::of(how));
    }
}

#[cfg(test)]
mod tests {
    use super::ring::{WINDOW, WINDOW_LINES};
    use super::*;

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_reader_waits_for_a_line_and_no_longer_than_it_said() {
        let logs = Logs::new();
        let began = Instant::now();
        assert_eq!(logs.read(0, Duration::from_secs(7)).await, Lines::default());
        assert_eq!(began.elapsed(), Duration::from_secs(7));
        let process = ProcessLog::new(&logs, 3, false);
        let write = async { process.take(Source::Stdout, b"hello\nwor") };
        let (read, ()) = tokio::join!(logs.read(0, Duration::from_secs(60)), write);
        assert_eq!(read.upto, 1);
        assert_eq!((read.lines[0].text.as_str(), read.lines[0].pid), ("hello", 3));
        process.ended("exit status 0");
        let texts: Vec<String> = logs.read(1, WINDOW).await.lines.into_iter().map(|line| line.text).collect();
        assert_eq!(texts, ["wor", "exit status 0"]);
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_flood_is_counted_and_the_next_second_is_heard_again() {
        let logs = Logs::new();
        let process = ProcessLog::new(&logs, 1, false);
        let chunk = b"y\n".repeat(16 * 1024);
        for _ in 0..1000 {
            process.take(Source::Stdout, &chunk);
        }
        let total = 1000 * 16 * 1024;
        let read = logs.read(0, Duration::ZERO).await;
        assert_eq!(read.lines.len(), WINDOW_LINES);
        assert_eq!(read.upto, total);
        tokio::time::advance(WINDOW).await;
        process.take(Source::Stdout, b"calm\n");
        let read = logs.read(total, Duration::ZERO).await;
        assert_eq!((read.lines[0].text.as_str(), read.lines[0].seq), ("calm", total + 1));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn numbers_that_are_none_are_refused() {
        let logs = Logs::new();
        for query in ["after=x", "after=-1", "after=1&wait=1.5"] {
            assert!(answer(&logs, Some(query)).await.is_err(), "{query}");
        }
        assert!(answer(&logs, None).await.is_ok());
    }
}
