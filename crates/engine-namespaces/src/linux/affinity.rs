//! Which of the host's processors a sandbox runs on: as many as it has, so that programs which count those they may
//! run on start as many threads as are of use.
//!
//! Sandboxes take processors in turn. It is no limit, which control groups are: programs inside may choose others.

use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Pid;
use rustix::thread::CpuSet;

/// The processors this process may use, and whose turn it is.
#[derive(Debug)]
pub(crate) struct Processors {
    usable: Vec<usize>,
    next: AtomicUsize,
}

impl Processors {
    pub(crate) fn of_this_process() -> Self {
        let set = rustix::thread::sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
        let usable = (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect();
        Self { usable, next: AtomicUsize::new(0) }
    }

    /// The next `n`, or `None` where that would be all there are.
    fn take(&self, n: usize) -> Option<CpuSet> {
        if n >= self.usable.len() {
            return None;
        }
        let first = self.next.fetch_add(n, Ordering::Relaxed);
        let mut set = CpuSet::new();
        self.usable.iter().cycle().skip(first % self.usable.len()).take(n).for_each(|cpu| set.set(*cpu));
        Some(set)
    }

    /// Gives a process, and all that it starts from now on, `n` of them.
    pub(crate) fn assign(&self, pid: i32, n: u32) -> std::io::Result<()> {
        let Some(set) = self.take(usize::try_from(n.max(1)).unwrap_or(usize::MAX)) else { return Ok(()) };
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let name = task?.file_name();
            // Without a number it would be this thread.
            let Some(task) = name.to_str().and_then(|name| Pid::from_raw(name.parse().ok()?)) else {
                continue;
            };
            match rustix::thread::sched_setaffinity(Some(task), &set) {
                // A thread that has ended since.
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_taken_in_turn() {
        let processors = Processors { usable: vec![0, 2, 5], next: AtomicUsize::new(0) };
        let taken = |n| {
            let set = processors.take(n)?;
            Some((0..8).filter(|cpu| set.is_set(*cpu)).collect::<Vec<_>>())
        };
        assert_eq!(taken(2), Some(vec![0, 2]));
        assert_eq!(taken(2), Some(vec![0, 5]));
        assert_eq!(taken(1), Some(vec![2]));
        assert_eq!((taken(3), taken(9)), (None, None));
    }
}
