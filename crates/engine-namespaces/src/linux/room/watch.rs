//! The looks at the host's disk, and what follows from each.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use sandscope_model::SandboxId;
use sandscope_tasks::{Phase, Task};
use tokio_util::sync::CancellationToken;

use super::ballast::Ballast;
use super::guest::{Guest, Marks, Unbacked};
use super::policy::{Grants, Stage};
use super::{Known, Room, WORTH_TRIMMING, Work, free_and_total};
use crate::linux::shared::Shared;
use crate::linux::step::{blocking, step};

/// Between two looks while there is room for everybody.
const PAUSE: Duration = Duration::from_millis(250);
/// The same while there is not.
const SHORT_PAUSE: Duration = Duration::from_millis(50);
const AFTER_A_FAILURE: Duration = Duration::from_secs(1);
/// Between two steps of giving back what sandboxes gave up, and how many of them it takes to come by every sandbox.
const TRIM_PAUSE: Duration = Duration::from_millis(500);
const TRIMS_A_ROUND: usize = 60;
/// Room to be had beside what is known to be needed, before it is written out.
const MARGIN: u64 = 1 << 20;

/// Looks from now on.
pub(in crate::linux) fn start(shared: &Arc<Shared>) {
    let room = &shared.room;
    // Not held by them: it holds the state directory.
    let (looking, giving) = (Arc::downgrade(shared), Arc::downgrade(shared));
    let task = |name| Task::restart(name, Phase::Engine).stopped_by(room.closed.clone());
    let closed = room.closed.clone();
    let looks = shared.tasks.start(task("disk-room"), move || run(looking.clone(), closed.clone()));
    let closed = room.closed.clone();
    let trims = shared.tasks.start(task("disk-trims"), move || give_back(giving.clone(), closed.clone()));
    room.tasks.lock().unwrap_or_else(PoisonError::into_inner).extend([looks, trims]);
}

/// Waits; false if it is over.
async fn wait(closed: &CancellationToken, pause: Duration) -> bool {
    tokio::time::timeout(pause, closed.cancelled()).await.is_err()
}

async fn run(shared: Weak<Shared>, closed: CancellationToken) {
    let mut pause = Duration::ZERO;
    while wait(&closed, pause).await {
        let Some(looking) = shared.upgrade() else { return closed.cancelled().await };
        if looking.room.glance() {
            pause = PAUSE;
            continue;
        }
        let looked = blocking("look at the host's disk", move || {
            looking.room.look(&guests(&looking)).map_err(step("look at the host's disk"))
        });
        pause = match looked.await {
            Ok(Stage::Ample) => PAUSE,
            Ok(Stage::Near | Stage::Short) => SHORT_PAUSE,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "the host's disk cannot be looked at; trying again");
                AFTER_A_FAILURE
            }
        };
    }
}

/// Gives back what sandboxes gave up, one after the other, while there is room for everybody: where there is not, it is
/// done with the looks.
async fn give_back(shared: Weak<Shared>, closed: CancellationToken) {
    let mut next = 0;
    while wait(&closed, TRIM_PAUSE).await {
        let Some(giving) = shared.upgrade() else { return closed.cancelled().await };
        if giving.sandboxes.all_alive().is_empty() {
            continue;
        }
        let given = blocking("give room back to the host", move || {
            if giving.room.standing().stage != Stage::Ample {
                return Ok(0);
            }
            let guests = guests(&giving);
            let n = guests.len().div_ceil(TRIMS_A_ROUND);
            guests.iter().cycle().skip(next).take(n).for_each(give_back_of);
            Ok(if guests.is_empty() { 0 } else { (next + n) % guests.len() })
        });
        // A host without a thread for it has other worries.
        next = given.await.unwrap_or(next);
    }
}

fn give_back_of(guest: &Guest) {
    let worth = |marks: Marks| marks.garbage() >= WORTH_TRIMMING;
    let trimmed = guest.marks().and_then(|marks| if worth(marks) { guest.trim() } else { Ok(0) });
    if let Err(error) = trimmed {
        tracing::debug!(sandbox_id = %guest.sandbox.id, %error, "what it gave up stays on the host's disk");
    }
}

fn guests(shared: &Shared) -> Vec<Guest> {
    shared.sandboxes.all_alive().iter().filter_map(Guest::of).collect()
}

impl Room {
    /// Whether there is room for everybody as there was before, and so nothing to do. Two system calls and a file of the
    /// kernel's: not worth a thread, four times a second.
    fn glance(&self) -> bool {
        let Ok(work) = self.work.try_lock() else { return false };
        let Ok((free, total)) = free_and_total(&self.state_dir) else { return false };
        let stage = self.bounds.stage(self.standing().stage, free, in_memory_at_most());
        let is_settled = work.known.is_empty() && work.ballast.as_ref().is_none_or(Ballast::is_whole);
        let mut standing = self.standing();
        // The first look is a whole one.
        if standing.n_looks == 0 || standing.stage != Stage::Ample || stage != Stage::Ample || !is_settled {
            return false;
        }
        (standing.free, standing.total) = (free, total);
        standing.n_looks += 1;
        true
    }

    /// One look. Returns how the disk stands.
    pub(super) fn look(&self, guests: &[Guest]) -> io::Result<Stage> {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let (free, total) = free_and_total(&self.state_dir)?;
        let before = self.standing().stage;
        let stage = self.bounds.stage(before, free, in_memory_at_most());
        let n_busy = work.known.values().filter(|known| known.is_busy).count();
        let grants = Grants::share(self.bounds.promise(stage, free), as_u64(guests.len()), as_u64(n_busy));
        {
            let mut standing = self.standing();
            (standing.stage, standing.free, standing.total) = (stage, free, total);
            standing.grant = grants.quiet;
        }
        report(before, stage, free);
        if stage == Stage::Ample {
            let known = std::mem::take(&mut work.known);
            self.let_all_go(guests, &known);
        } else {
            self.share_out(&mut work, guests, grants);
        }
        self.restore_ballast(&mut work)?;
        self.standing().n_looks += 1;
        Ok(stage)
    }

    fn let_all_go(&self, guests: &[Guest], known: &HashMap<SandboxId, Known>) {
        for guest in guests {
            let Some(known) = known.get(&guest.sandbox.id) else { continue };
            warn(guest, "its share of the host's disk cannot be set", guest.uncap());
            if known.is_held {
                warn(guest, "it cannot go on", guest.sandbox.let_go_on());
            }
        }
        self.standing().n_held = 0;
    }

    /// Caps first, which takes no time; then what each has taken gets its room on the host.
    fn share_out(&self, work: &mut Work, guests: &[Guest], grants: Grants) {
        let there: HashSet<_> = guests.iter().map(|guest| &guest.sandbox.id).collect();
        work.known.retain(|id, _| there.contains(id));
        for guest in guests {
            let known = work.known.entry(guest.sandbox.id.clone()).or_default();
            let grant = if known.is_busy { grants.busy } else { grants.quiet };
            // What is not used up stands, unless that is more than there is by now.
            if known.grant.is_none_or(|given| given != grant) || known.is_busy {
                warn(guest, "its share of the host's disk cannot be set", guest.cap(grant));
                known.grant = Some(grant);
            }
        }
        for guest in guests {
            let known = work.known.get(&guest.sandbox.id).copied().unwrap_or_default();
            match self.settle(work, guest, known) {
                Ok(settled) => {
                    work.known.insert(guest.sandbox.id.clone(), settled);
                }
                Err(error) => {
                    tracing::warn!(sandbox_id = %guest.sandbox.id, %error, "a sandbox's disk cannot be looked at");
                }
            }
        }
        let n_held = work.known.values().filter(|known| known.is_held).count();
        self.standing().n_held = as_u64(n_held);
    }

    /// Sees to it that what the sandbox has in use has its room on the host.
    fn settle(&self, work: &mut Work, guest: &Guest, known: Known) -> io::Result<Known> {
        let marks = guest.marks()?;
        let is_busy = marks != known.marks;
        if !is_busy && !known.is_held {
            return Ok(Known { is_busy, ..known });
        }
        // Everybody's turn comes after this one.
        let _until_settled = guest.sandbox.at_full_speed();
        self.make_room(work, guest.in_memory().unwrap_or(0));
        if let Err(error) = guest.sync() {
            self.standing().n_lost += 1;
            tracing::error!(
                sandbox_id = %guest.sandbox.id, %error,
                "what a sandbox had in memory could not be written out and is lost"
            );
        }
        if guest.marks()?.garbage() >= WORTH_TRIMMING {
            // Whoever is given room back inside must ask for it on the host again.
            guest.cap(known.grant.unwrap_or(0))?;
            guest.trim()?;
        }
        let is_held = !self.back(work, guest, &guest.unbacked()?)?;
        if is_held {
            let held = guest.sandbox.hold();
            if !known.is_held {
                tracing::error!(
                    sandbox_id = %guest.sandbox.id,
                    "a sandbox stands still: the host's disk has no room for what it has preallocated"
                );
            }
            warn(guest, "it cannot be stopped", held.map(drop));
        } else if known.is_held {
            tracing::info!(sandbox_id = %guest.sandbox.id, "a sandbox goes on: the host's disk has room for it");
            warn(guest, "it cannot go on", guest.sandbox.let_go_on());
        }
        Ok(Known { marks: guest.marks()?, is_busy, is_held, ..known })
    }

    /// Takes the room; false if there is not enough.
    fn back(&self, work: &mut Work, guest: &Guest, unbacked: &Unbacked) -> io::Result<bool> {
        let bytes = unbacked.bytes();
        if bytes == 0 {
            return Ok(true);
        }
        // Little comes along with what is written; much leaves room for what others have in memory.
        let left = if bytes > MARGIN { self.bounds.low } else { 0 };
        let wanted = bytes.saturating_add(left);
        let in_reserve = work.ballast.as_ref().map_or(0, Ballast::to_let_go);
        if free_for_sandboxes(self)?.saturating_add(in_reserve) < wanted {
            return Ok(false);
        }
        self.make_room(work, wanted);
        match unbacked.back() {
            Ok(()) => Ok(true),
            // A file system that cannot: what it has is all there is.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                tracing::debug!(sandbox_id = %guest.sandbox.id, "another program took the room");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Lets go of the ballast where less than `bytes` is free.
    fn make_room(&self, work: &mut Work, bytes: u64) {
        let lacks = free_for_sandboxes(self).is_ok_and(|free| free < bytes.saturating_add(MARGIN));
        if let Some(ballast) = work.ballast.as_mut().filter(|ballast| lacks && !ballast.is_gone()) {
            tracing::warn!(bytes, "the host's disk has no room for what sandboxes wrote: using the reserve");
            if let Err(error) = ballast.let_go() {
                tracing::error!(%error, "the reserve cannot be used");
            }
        }
    }

    fn restore_ballast(&self, work: &mut Work) -> io::Result<()> {
        let Some(ballast) = work.ballast.as_mut() else { return Ok(()) };
        let (free, _) = free_and_total(&self.state_dir)?;
        match ballast.restore(free, self.bounds.low) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                tracing::warn!("the host's file system takes no room in advance: there is no reserve file");
                work.ballast = None;
                Ok(())
            }
            // Somebody was faster.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
            restored => restored,
        }
    }
}

/// What of the disk the kernel gives to loop devices: also what is kept back from ordinary programs.
fn free_for_sandboxes(room: &Room) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(&room.state_dir)?;
    Ok(stat.f_bfree.saturating_mul(stat.f_frsize))
}

/// Bytes that may be in memory and not on any disk, on the whole host. Where the kernel does not say, nothing is known to
/// be safe.
fn in_memory_at_most() -> u64 {
    let text = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let pages = text.lines().find_map(|line| line.strip_prefix("nr_dirty_threshold "));
    let pages: Option<u64> = pages.and_then(|pages| pages.trim().parse().ok());
    pages.map_or(u64::MAX, |pages| pages.saturating_mul(as_u64(rustix::param::page_size())))
}

fn report(before: Stage, stage: Stage, free: u64) {
    let free_mib = free >> 20;
    match (before, stage) {
        (Stage::Ample | Stage::Near, Stage::Short) => tracing::error!(
            free_mib,
            "the host's disk is short of room: sandboxes may take no more, and none is made"
        ),
        (Stage::Short, Stage::Ample | Stage::Near) => {
            tracing::info!(free_mib, "the host's disk has room again");
        }
        (Stage::Ample, Stage::Near) => {
            tracing::info!(free_mib, "room on the host's disk is shared out from now on");
        }
        _ => {}
    }
}

fn warn(guest: &Guest, what: &'static str, outcome: Result<(), impl std::fmt::Display>) {
    if let Err(error) = outcome {
        tracing::warn!(sandbox_id = %guest.sandbox.id, %error, "{what}");
    }
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
