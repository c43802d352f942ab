//! How a sandbox ends: its one task follows it there, and reports what nobody asked for.

use std::io;
use std::os::fd::AsFd as _;
use std::time::Duration;

use sandscope_engine::Notice;
use sandscope_model::{Cause, Exit, ExitStatus};
use tokio::sync::mpsc;

use super::handles::{Handles, RECORD_LIMIT};
use super::oom;
use super::record::{self, EXIT_FILE, ExitRecord};
use super::sandbox::Sandbox;
use super::sys;

/// How long the first process, if it was the victim, may take to end after its kill was counted.
const VICTIM_LIMIT: Duration = Duration::from_millis(100);
/// Looks at the count after word of a lack of memory came: the kill follows a moment later.
const OOM_LOOKS_MS: [u64; 9] = [0, 2, 5, 10, 20, 40, 80, 160, 320];
/// How often the count is looked at where the kernel sends no word.
const OOM_POLL: Duration = Duration::from_millis(500);
/// How often, and with what pause, control groups are looked for after their processes were killed: they can only be
/// removed once those are gone.
const REMOVAL_LOOKS: u32 = 4;
const REMOVAL_PAUSE: Duration = Duration::from_millis(50);
const SIGKILL: i32 = 9;

impl Sandbox {
    /// Follows the sandbox to its end and reports an end that nobody requested.
    pub(crate) async fn watch(&self, notices: &mpsc::Sender<Notice>) {
        if let Some(live) = self.live() {
            self.follow(&live, notices).await;
            self.lift(&live);
            // It records the exit and then leaves; one that was killed itself leaves without.
            if tokio::time::timeout(RECORD_LIMIT, live.shim.readable()).await.is_err() {
                tracing::warn!(sandbox_id = %self.id, "the exit has not been recorded in time");
            }
        }
        let mut exit = self.last_words();
        let asked_for = self.is_being_killed();
        if !asked_for {
            exit.cause = Some(self.cause_of(&exit).await);
        }
        self.finish(exit.clone());
        if !asked_for {
            let _nobody_listens = notices.send(Notice::Ended { id: self.id.clone(), exit }).await;
        }
    }

    /// Waits for the first process's end, and reports processes killed for lack of memory until then.
    async fn follow(&self, live: &Handles, notices: &mpsc::Sender<Notice>) {
        let word = self.cgroup.watch_oom().map_err(io::Error::other).and_then(sys::watch_oom);
        let word = word
            .inspect_err(|error| {
                tracing::warn!(sandbox_id = %self.id, %error, "no word when memory runs out; looking now and then");
            })
            .ok();
        // It may have happened before anybody watched.
        self.tell_oom_kills(live, notices, &[0]).await;
        loop {
            let out_of_memory = async {
                match &word {
                    Some(word) => sys::next_oom(word).await,
                    None => tokio::time::sleep(OOM_POLL).await,
                }
            };
            tokio::select! {
                biased;
                () = out_of_memory => self.tell_oom_kills(live, notices, &OOM_LOOKS_MS).await,
                _always_readable = live.pidfd.readable() => return,
            }
        }
    }

    /// Looks at the count, after each of the pauses, until it has risen or everything ended.
    async fn tell_oom_kills(&self, live: &Handles, notices: &mpsc::Sender<Notice>, pauses_ms: &[u64]) {
        for pause_ms in pauses_ms {
            tokio::time::sleep(Duration::from_millis(*pause_ms)).await;
            if let Some(n_oom_kills) = self.oom.look(&self.cgroup) {
                // Of the first process's own the end reports, which takes long where there is much to free.
                let ended = tokio::time::timeout(VICTIM_LIMIT, live.pidfd.readable()).await.is_ok();
                let is_ending = !ended && oom::is_ending(live.proc_dir.as_fd());
                if is_ending {
                    self.oom.took_first();
                }
                if !ended && !is_ending && !self.is_being_killed() {
                    let notice = Notice::OutOfMemory { id: self.id.clone(), n_oom_kills };
                    let _nobody_listens = notices.send(notice).await;
                }
                return;
            }
            if live.has_ended() {
                return;
            }
        }
    }

    /// What is known about the end, but for the cause. To be asked before the control groups go.
    fn last_words(&self) -> Exit {
        let status = match record::read::<ExitRecord>(&self.dir, EXIT_FILE) {
            Ok(record) => record.and_then(|record| record.status()),
            Err(error) => {
                tracing::warn!(sandbox_id = %self.id, %error, "the exit record cannot be read");
                None
            }
        };
        let totals = self.cgroup.totals();
        Exit {
            status,
            cause: None,
            n_oom_kills: totals.n_oom_kills,
            peak_memory_bytes: totals.peak_memory_bytes,
            cpu_time_usec: totals.cpu_usage_usec,
        }
    }

    /// What ended it, though nobody asked.
    async fn cause_of(&self, exit: &Exit) -> Cause {
        if let Some(cause) = self.condemned() {
            return cause;
        }
        let _risen = self.oom.look(&self.cgroup);
        let was_killed = exit.status == Some(ExitStatus::Signal(SIGKILL));
        if was_killed && self.oom.are_the_cause() {
            return Cause::OutOfMemory;
        }
        for look in 0..if was_killed { REMOVAL_LOOKS } else { 1 } {
            if look > 0 {
                tokio::time::sleep(REMOVAL_PAUSE).await;
            }
            if self.cgroup.is_removed() {
                return Cause::ControlGroupsRemoved;
            }
        }
        exit.plain_cause().unwrap_or(Cause::SupervisorKilled)
    }

    /// What is known about the end of one that was found dead. `has_groups`: its control groups are still its own;
    /// others would say that it used nothing.
    pub(crate) fn found_dead(&self, same_boot: bool, has_groups: bool) -> Exit {
        let words = self.last_words();
        let exit = if has_groups { words } else { Exit { status: words.status, ..Exit::default() } };
        let was_killed = exit.status == Some(ExitStatus::Signal(SIGKILL));
        if let Some(cause) = self.condemned() {
            return Exit { cause: Some(cause), ..exit };
        }
        let cause = match exit.plain_cause() {
            None if !same_boot => Cause::HostRestarted,
            // Nobody looked: a kill for lack of memory that was not reported is taken for the cause of the end.
            Some(_) if was_killed && exit.n_oom_kills.is_some_and(|n| n > 0) => Cause::OutOfMemory,
            Some(Cause::AgentExited) => Cause::AgentExited,
            _ if same_boot && !has_groups => Cause::ControlGroupsRemoved,
            plain => plain.unwrap_or(Cause::SupervisorKilled),
        };
        Exit { cause: Some(cause), ..exit }
    }
}
