//! Threads for work that blocks: files, directories.
//!
//! ```text
//! submit ──► queue ──┬─► the first thread: there from the start, for ever
//!                    └─► up to seven more while there is much to do; each leaves after a pause
//! ```
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

type Job = Box<dyn FnOnce() + Send>;

struct Pool {
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

static POOL: Pool =
    Pool { state: Mutex::new(State { jobs: VecDeque::new(), threads: 0, idle: 0 }), work: Condvar::new() };

/// The work was begun by nobody: only where a thread has died.
#[derive(Debug, thiserror::Error)]
#[error("the work was canceled")]
pub(crate) struct GivenUp;

/// Starts the first thread. To be called before anything else of this module.
pub(crate) fn start() -> io::Result<()> {
    let mut state = POOL.lock();
    spawn(true)?;
    state.threads += 1;
    Ok(())
}

/// Has `work` done. Dropping the receiver discards the result, not the work.
pub(crate) fn submit<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (sender, receiver) = oneshot::channel();
    let mut state = POOL.lock();
    state.jobs.push_back(Box::new(move || {
        // Nobody waiting any more is fine.
        let _ = sender.send(work());
    }));
    // Refused by the kernel: those there are will come to it.
    if state.jobs.len() > state.idle && state.threads < MAX_THREADS && spawn(false).is_ok() {
        state.threads += 1;
    }
    drop(state);
    POOL.work.notify_one();
    receiver
}

/// Has `work` done and waits for its result.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, GivenUp> {
    submit(work).await.map_err(|_| GivenUp)
}

fn spawn(first: bool) -> io::Result<()> {
    let builder = std::thread::Builder::new().name("files".to_owned()).stack_size(STACK_BYTES);
    builder.spawn(move || POOL.serve(first)).map(drop)
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, first: bool) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.lock();
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
            if waited && state.jobs.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn all_work_is_done_by_few_threads() {
        start().unwrap();
        let works: Vec<_> = (0..200).map(|number| submit(move || number * 2)).collect();
        for (number, work) in works.into_iter().enumerate() {
            assert_eq!(work.await.unwrap(), number * 2);
        }
        assert!(POOL.lock().threads <= MAX_THREADS);
        assert_eq!(run(|| 7).await.unwrap(), 7);
    }
}
