//! Kills for lack of memory in one sandbox, counted by the kernel.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sandscope_cgroup::CgroupSet;

/// How long before its end an out-of-memory kill may have been counted to be what ended the sandbox.
const OOM_WINDOW: Duration = Duration::from_secs(1);

/// Those that were seen so far.
#[derive(Debug, Default)]
pub(crate) struct OomKills(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    n_kills: u64,
    /// When the count was last seen to rise.
    risen_at: Option<Instant>,
}

impl OomKills {
    /// Looks at the count again: the number of kills, if it has risen.
    pub(super) fn look(&self, cgroup: &CgroupSet) -> Option<u64> {
        let n_kills = cgroup.n_oom_kills().ok()?;
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if n_kills <= seen.n_kills {
            return None;
        }
        *seen = Seen { n_kills, risen_at: Some(Instant::now()) };
        Some(n_kills)
    }

    /// Whether the count rose a moment ago.
    pub(super) fn have_just_risen(&self) -> bool {
        let risen_at = self.0.lock().unwrap_or_else(PoisonError::into_inner).risen_at;
        risen_at.is_some_and(|at| at.elapsed() <= OOM_WINDOW)
    }
}
