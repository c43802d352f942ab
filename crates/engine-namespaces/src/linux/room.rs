//! Room on the host's disk. Sandboxes' disks are sparse: together they may promise more than there is. This sees to it
//! that no byte is lost when the promise comes due.
//!
//! ```text
//!   free ──► stage            sandboxes                                            server
//!            Ample            write as they like
//!            Near             each may take so much more, all together half of     as always
//!                             what is left; given anew as they use it up
//!            Short            may take nothing more: `write` answers "no space"    no new sandboxes, no snapshots
//! ```
//!
//! In `Near` and `Short` what a sandbox has in use inside also gets its room on the host: what is in memory is written
//! out, and what was preallocated is allocated here, too. Whatever another program then does to the disk, no sandbox's
//! write has to find a block. Should that program have been faster than the looks, the ballast makes room for what is
//! in memory still. A sandbox for whose preallocations there is no room stands still until there is.
//!
//! Ownership: one task looks, alone; `standing` is what others may ask. The caps are the kernel's: they outlive this
//! process, and the next one finds them.
//!
//! Failure: a sandbox whose disk cannot be looked at is skipped and reported; a disk that refuses the ballast leaves the
//! free room as the only reserve.

mod ballast;
mod guest;
mod policy;
mod watch;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sandscope_engine::{DiskStanding, EngineError};
use sandscope_model::SandboxId;
use sandscope_tasks::Watched;
use tokio_util::sync::CancellationToken;

pub(super) use watch::start;

use super::sandbox::Sandbox;
use ballast::Ballast;
use guest::{Guest, Marks};
use policy::{Bounds, Stage};

/// Free bytes inside that are given back once a sandbox has given up so many of them.
const WORTH_TRIMMING: u64 = 8 << 20;

/// What is kept free of a disk of that size, in bytes: what is wished, and at most a tenth.
pub fn disk_reserve(disk_size: u64, wished: u64) -> u64 {
    let bounds = Bounds::of(disk_size, wished);
    bounds.ballast.saturating_add(bounds.low)
}

#[derive(Debug)]
pub(super) struct Room {
    state_dir: PathBuf,
    bounds: Bounds,
    standing: Mutex<Standing>,
    /// Held by whoever looks.
    work: Mutex<Work>,
    closed: CancellationToken,
    tasks: Mutex<Vec<Watched>>,
}

/// What others ask.
#[derive(Debug, Default)]
struct Standing {
    stage: Stage,
    free: u64,
    total: u64,
    /// What a sandbox that is new may take.
    grant: u64,
    /// Bytes that are being copied.
    under_way: u64,
    n_held: u64,
    n_lost: u64,
    n_looks: u64,
}

#[derive(Debug)]
struct Work {
    ballast: Option<Ballast>,
    known: HashMap<SandboxId, Known>,
}

/// What is known of one sandbox's disk.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    marks: Marks,
    grant: Option<u64>,
    is_busy: bool,
    is_held: bool,
}

/// Room that is being taken, until dropped.
#[derive(Debug)]
pub(super) struct Taking<'a>(&'a Room, u64);

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        let mut standing = self.0.standing();
        standing.under_way = standing.under_way.saturating_sub(self.1);
    }
}

impl Room {
    /// `wished`: the bytes to keep free.
    pub(super) fn open(state_dir: &Path, wished: u64) -> io::Result<Self> {
        let (free, total) = free_and_total(state_dir)?;
        let bounds = Bounds::of(total, wished);
        let ballast = Ballast::open(state_dir, bounds.ballast);
        let ballast =
            ballast.inspect_err(|error| tracing::warn!(%error, "no ballast on the host's disk")).ok();
        let work = Work { ballast, known: HashMap::new() };
        let standing = Standing { free, total, ..Standing::default() };
        let room = Self {
            state_dir: state_dir.to_owned(),
            bounds,
            standing: Mutex::new(standing),
            work: Mutex::new(work),
            closed: CancellationToken::new(),
            tasks: Mutex::default(),
        };
        room.look(&[])?;
        Ok(room)
    }

    /// Looks no more. What sandboxes may take stays as it is.
    pub(super) async fn close(&self) {
        self.closed.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for mut task in tasks {
            task.ended().await;
        }
    }

    /// Asks for `bytes` on the host's disk, for a sandbox or a snapshot.
    pub(super) fn take(&self, bytes: u64) -> Result<Taking<'_>, EngineError> {
        let (free, _) = free_and_total(&self.state_dir)
            .map_err(|source| EngineError::Step { step: "look at the host's disk", source })?;
        let mut standing = self.standing();
        let left = free.saturating_sub(self.bounds.low).saturating_sub(standing.under_way);
        if standing.stage == Stage::Short || free < self.bounds.low || left < bytes {
            return Err(EngineError::DiskFull(format!("{} MiB are free", free >> 20)));
        }
        standing.under_way = standing.under_way.saturating_add(bytes);
        drop(standing);
        Ok(Taking(self, bytes))
    }

    /// A sandbox begins to be somebody's, or is found again: it may take what any other may.
    pub(super) fn welcome(&self, sandbox: &Arc<Sandbox>) {
        let Some(guest) = Guest::of(sandbox) else { return };
        let (stage, grant) = {
            let standing = self.standing();
            (standing.stage, standing.grant)
        };
        let capped = if stage == Stage::Ample { guest.uncap() } else { guest.cap(grant) };
        if let Err(error) = capped {
            tracing::warn!(sandbox_id = %sandbox.id, %error, "a sandbox's share of the host's disk cannot be set");
        }
    }

    pub(super) fn disk(&self) -> DiskStanding {
        let standing = self.standing();
        DiskStanding {
            free_bytes: standing.free,
            total_bytes: standing.total,
            reserve_bytes: self.bounds.low.saturating_add(self.bounds.ballast),
            is_short: standing.stage == Stage::Short,
            n_held: standing.n_held,
            n_lost: standing.n_lost,
            n_looks: standing.n_looks,
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Free for ordinary programs, and all, of the file system that holds `dir`.
fn free_and_total(dir: &Path) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok((stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize)))
}
