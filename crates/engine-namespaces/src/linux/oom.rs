//! Kills for lack of memory in one sandbox, counted by the kernel.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use sandscope_cgroup::CgroupSet;

/// How long before its end an out-of-memory kill may have been counted to be what ended the sandbox.
const OOM_WINDOW: Duration = Duration::from_secs(1);

/// Of a process that the kernel is taking apart, in its flags.
const EXITING: u64 = 4;
/// Of a signal that will end it, in what waits for it.
const SIGKILL: u64 = 1 << 8;

/// Those that were seen so far.
#[derive(Debug, Default)]
pub(crate) struct OomKills(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    n_kills: u64,
    /// When the count was last seen to rise.
    risen_at: Option<Instant>,
    /// Whether the first process was found ending right after such a rise: however long that takes, it is why.
    took_first: bool,
}

impl OomKills {
    /// Looks at the count again: the number of kills, if it has risen.
    pub(super) fn look(&self, cgroup: &CgroupSet) -> Option<u64> {
        let n_kills = cgroup.n_oom_kills().ok()?;
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if n_kills <= seen.n_kills {
            return None;
        }
        *seen = Seen { n_kills, risen_at: Some(Instant::now()), ..*seen };
        Some(n_kills)
    }

    /// The first process is among those killed.
    pub(super) fn took_first(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).took_first = true;
    }

    /// Whether they are why the sandbox has ended just now.
    pub(super) fn are_the_cause(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).are_the_cause(Instant::now())
    }
}

impl Seen {
    fn are_the_cause(&self, ended_at: Instant) -> bool {
        let just_risen = |at: Instant| ended_at.saturating_duration_since(at) <= OOM_WINDOW;
        self.took_first || self.risen_at.is_some_and(just_risen)
    }
}

/// Whether the process of this entry in `/proc` has been killed and is not gone yet.
pub(super) fn is_ending(proc_dir: BorrowedFd<'_>) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let stat = rustix::fs::openat(proc_dir, "stat", flags, Mode::empty()).map(File::from);
    let mut text = Vec::new();
    stat.is_ok_and(|mut file| file.read_to_end(&mut text).is_ok()) && says_ending(&text)
}

/// The name may contain anything: it ends at the last parenthesis.
fn says_ending(stat: &[u8]) -> bool {
    let fields = stat.rsplit(|byte| *byte == b')').next().and_then(|rest| std::str::from_utf8(rest).ok());
    let number = |index| fields?.split_ascii_whitespace().nth(index)?.parse::<u64>().ok();
    let has = |index, bit| number(index).is_some_and(|bits| bits & bit != 0);
    has(6, EXITING) || has(28, SIGKILL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_of_the_first_process_is_the_cause_however_long_its_end_takes() {
        let now = Instant::now();
        let of_another = Seen { n_kills: 7, risen_at: Some(now), took_first: false };
        assert!(of_another.are_the_cause(now + OOM_WINDOW));
        assert!(!of_another.are_the_cause(now + 2 * OOM_WINDOW));
        let of_the_first = Seen { took_first: true, ..of_another };
        assert!(of_the_first.are_the_cause(now + 100 * OOM_WINDOW));
        assert!(!Seen::default().are_the_cause(now));
    }

    #[test]
    fn one_that_is_ending_is_told_by_its_flags_or_its_last_signal() {
        let stat = |flags: u32, pending: u32| {
            let between = "0 ".repeat(21);
            says_ending(format!("7 (a) S 4 4) S 1 7 7 0 -1 {flags} {between}{pending} 0 0 0").as_bytes())
        };
        assert!(!stat(0x0040_0140, 0));
        assert!(stat(0x0040_0144, 0));
        assert!(stat(0x0040_0140, 0x100));
        assert!(!stat(0x0040_0140, 0xff));
        assert!(!says_ending(b"") && !says_ending(b"7 (a"));
    }
}
