//! Threads for work that blocks: files, directories.
//!
//! ```text
//! submit ──► queues ──┬─► the first thread: there from the start, for ever
//!                     └─► up to seven more while there is much to do; each leaves after a pause
//! ```
//!
//! Work that may take long has a queue of its own, and only some of the threads at a time, so that whoever looks at a file
//! finds one while a large tree is removed or a slow disk is waited for.
//!
//! Own code, because the runtime's pool panics when the kernel refuses it a thread, and inside a
//! sandbox anybody can bring that about (a fork bomb does). Here work then waits for the threads there are, and there
//! is always one. The queue is bounded by the number of connections: each has one piece of work under way.

use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// Threads at most.
const MAX_THREADS: usize = 8;

/// Stack of a thread, in bytes, of which only what is used takes memory. Directories are walked without recursion; a
/// compressor, a third of a megabyte, may be put together on the stack.
pub(crate) const STACK_BYTES: usize = 1024 * 1024;

/// How long a thread that is not the first one waits for work before it leaves.
const PAUSE: Duration = Duration::from_secs(2);

/// Threads at most that write uploads, which waits for the disk.
const MAX_WRITING: usize = 4;

/// Threads at most that do long work. Two are left for whatever is quick.
const MAX_LONG: usize = 2;

type Job = Box<dyn FnOnce() + Send>;

struct Pool {
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    quick: Line,
    writing: Line,
    long: Line,
    /// Of the next job.
    number: u64,
    threads: usize,
    idle: usize,
}

/// What waits of one kind.
struct Line {
    kind: Kind,
    jobs: VecDeque<(u64, Job)>,
    running: usize,
    limit: usize,
}

#[derive(Clone, Copy)]
enum Kind {
    Quick,
    Writing,
    Long,
}

impl Line {
    const fn new(kind: Kind, limit: usize) -> Self {
        Self { kind, jobs: VecDeque::new(), running: 0, limit }
    }

    /// How many jobs may begin now.
    fn ready(&self) -> usize {
        self.jobs.len().min(self.limit - self.running)
    }
}

impl State {
    fn lines(&mut self) -> [&mut Line; 3] {
        [&mut self.quick, &mut self.writing, &mut self.long]
    }

    fn line(&mut self, kind: Kind) -> &mut Line {
        match kind {
            Kind::Quick => &mut self.quick,
            Kind::Writing => &mut self.writing,
            Kind::Long => &mut self.long,
        }
    }

    fn ready(&self) -> usize {
        self.quick.ready() + self.writing.ready() + self.long.ready()
    }

    /// Of the jobs that may begin, the one that has waited longest.
    fn take(&mut self) -> Option<(Kind, Job)> {
        let lines = self.lines().into_iter().filter(|line| line.ready() > 0);
        let line = lines.min_by_key(|line| line.jobs.front().map(|(number, _)| *number))?;
        let (_, job) = line.jobs.pop_front()?;
        line.running += 1;
        Some((line.kind, job))
    }
}

static POOL: Pool = Pool {
    state: Mutex::new(State {
        quick: Line::new(Kind::Quick, MAX_THREADS),
        writing: Line::new(Kind::Writing, MAX_WRITING),
        long: Line::new(Kind::Long, MAX_LONG),
        number: 0,
        threads: 0,
        idle: 0,
    }),
    work: Condvar::new(),
};

/// Whoever asked for long work.
pub(crate) struct Caller<'a> {
    is_gone: &'a dyn Fn() -> bool,
}

impl<'a> Caller<'a> {
    pub(crate) fn new(is_gone: &'a dyn Fn() -> bool) -> Self {
        Self { is_gone }
    }

    /// To be asked again and again.
    ///
    /// # Errors
    ///
    /// Nobody waits for the work any more: it is to end.
    pub(crate) fn waits(&self) -> io::Result<()> {
        if (self.is_gone)() { Err(io::Error::other("nobody waits for it any more")) } else { Ok(()) }
    }
}

/// The work was begun by nobody: only where a thread has died.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the work was canceled")]
pub(crate) struct GivenUp;

/// Starts the first thread. To be called before anything else of this module.
pub(crate) fn start() -> io::Result<()> {
    let mut state = POOL.lock();
    spawn(true)?;
    state.threads += 1;
    Ok(())
}

/// Has `work` done, which is quick. Dropping the receiver discards the result, not the work.
pub(crate) fn submit<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    submit_as(Kind::Quick, work)
}

/// Like [`submit`], of work that writes to the disk or waits for it.
pub(crate) fn submit_writing<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> oneshot::Receiver<T> {
    submit_as(Kind::Writing, work)
}

/// Has long `work` done. Once the receiver is dropped it is not begun any more, and hears of it when it has begun.
pub(crate) fn submit_long<T: Send + 'static>(
    work: impl FnOnce(&Caller<'_>) -> T + Send + 'static,
) -> oneshot::Receiver<T> {
    let (sender, receiver) = oneshot::channel();
    POOL.add(
        Kind::Long,
        Box::new(move || {
            if !sender.is_closed() {
                let result = work(&Caller::new(&|| sender.is_closed()));
                let _ = sender.send(result);
            }
        }),
    );
    receiver
}

fn submit_as<T: Send + 'static>(
    kind: Kind,
    work: impl FnOnce() -> T + Send + 'static,
) -> oneshot::Receiver<T> {
    let (sender, receiver) = oneshot::channel();
    POOL.add(
        kind,
        Box::new(move || {
            // Nobody waiting any more is fine.
            let _ = sender.send(work());
        }),
    );
    receiver
}

/// Has quick `work` done and waits for its result.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, GivenUp> {
    submit(work).await.map_err(|_| GivenUp)
}

/// Like [`run`], of work that writes to the disk or waits for it.
pub(crate) async fn run_writing<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, GivenUp> {
    submit_writing(work).await.map_err(|_| GivenUp)
}

/// Like [`submit_long`], and waits for the result.
pub(crate) async fn run_long<T: Send + 'static>(
    work: impl FnOnce(&Caller<'_>) -> T + Send + 'static,
) -> Result<T, GivenUp> {
    submit_long(work).await.map_err(|_| GivenUp)
}

fn spawn(first: bool) -> io::Result<()> {
    let builder = std::thread::Builder::new().name("files".to_owned()).stack_size(STACK_BYTES);
    builder.spawn(move || POOL.serve(first)).map(drop)
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, kind: Kind, job: Job) {
        let mut state = self.lock();
        let number = state.number;
        state.number += 1;
        state.line(kind).jobs.push_back((number, job));
        self.staff(&mut state);
    }

    /// Sees to it that somebody comes to what is ready.
    fn staff(&self, state: &mut State) {
        let ready = state.ready();
        // Refused by the kernel: those there are will come to it.
        if ready > state.idle && state.threads < MAX_THREADS && spawn(false).is_ok() {
            state.threads += 1;
        }
        if ready > 0 {
            self.work.notify_one();
        }
    }

    fn serve(&self, first: bool) {
        let mut state = self.lock();
        loop {
            if let Some((kind, job)) = state.take() {
                // What has just ended may have been in its kind's way.
                self.staff(&mut state);
                drop(state);
                job();
                state = self.lock();
                state.line(kind).running -= 1;
                continue;
            }
            state.idle += 1;
            let mut waited = false;
            state = if first {
                self.work.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                let (state, wait) =
                    self.work.wait_timeout(state, PAUSE).unwrap_or_else(PoisonError::into_inner);
                waited = wait.timed_out();
                state
            };
            state.idle -= 1;
            if waited && state.ready() == 0 {
                state.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
