//! Faults on purpose: a store opened with a plan fails the commits the plan names, exactly as a broken disk would.
//! Nothing reads a plan from configuration; only a caller of [`Store::open_with`](crate::Store::open_with) has one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::StoreError;
use crate::failure::Failure;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full.
    Full,
    /// The disk answers an error.
    Io,
    /// The file system turned read-only.
    ReadOnly,
}

impl Fault {
    fn error(self) -> StoreError {
        match self {
            Self::Full => StoreError::Full,
            Self::Io => StoreError::Io(Failure::new(std::io::Error::other("injected"))),
            Self::ReadOnly => StoreError::ReadOnly,
        }
    }
}

/// Which transactions on the facts fail. Clones share one plan, so that a test can go on arming it while the store
/// runs. A failed transaction is rolled back; everything grouped into it gets the error.
#[derive(Debug, Clone, Default)]
pub struct FaultPlan {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    n_commits: AtomicU64,
    planned: Mutex<Planned>,
}

#[derive(Debug, Default)]
struct Planned {
    at: BTreeMap<u64, Fault>,
    always: Option<Fault>,
    delay: Option<Duration>,
    panics_in_operation: bool,
    panics_at_commit: bool,
}

impl FaultPlan {
    /// A plan in which nothing fails.
    pub fn none() -> Self {
        Self::default()
    }

    /// Fails the `n`-th transaction on the facts since the store was opened, counted from 1, failed ones included.
    pub fn fail_commit(&self, n: u64, fault: Fault) {
        self.planned().at.insert(n, fault);
    }

    /// Fails the next transaction on the facts.
    pub fn fail_next(&self, fault: Fault) {
        let mut planned = self.planned();
        let next = self.n_commits() + 1;
        planned.at.insert(next, fault);
    }

    /// Fails every transaction on the facts from now on; `None` repairs the disk.
    pub fn fail_always(&self, fault: Option<Fault>) {
        self.planned().always = fault;
    }

    /// Makes every transaction on the facts take so much longer; `None` lets them go at their own pace.
    pub fn slow_down(&self, delay: Option<Duration>) {
        self.planned().delay = delay;
    }

    /// The next operation on the facts panics.
    pub fn panic_in_operation(&self) {
        self.planned().panics_in_operation = true;
    }

    /// The writer of the facts panics at its next commit, outside of any operation.
    pub fn panic_at_commit(&self) {
        self.planned().panics_at_commit = true;
    }

    /// An operation begins.
    pub(crate) fn operation(&self) {
        let panics = std::mem::take(&mut self.planned().panics_in_operation);
        assert!(!panics, "planned, in an operation");
    }

    /// Transactions on the facts tried so far.
    pub fn n_commits(&self) -> u64 {
        self.shared.n_commits.load(Ordering::SeqCst)
    }

    /// Counts one commit and says whether it may proceed.
    #[expect(clippy::disallowed_methods, reason = "a disk that is slow on purpose holds its own thread")]
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let (delay, panics) = {
            let mut planned = self.planned();
            (planned.delay, std::mem::take(&mut planned.panics_at_commit))
        };
        assert!(!panics, "planned, at a commit");
        if let Some(delay) = delay {
            std::thread::sleep(delay);
        }
        let mut planned = self.planned();
        let n = self.shared.n_commits.fetch_add(1, Ordering::SeqCst) + 1;
        let fault = planned.at.remove(&n).or(planned.always);
        fault.map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn planned(&self) -> std::sync::MutexGuard<'_, Planned> {
        self.shared.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
