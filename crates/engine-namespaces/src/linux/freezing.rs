//! Letting a sandbox's processes stand still and go on: for a pause, for a checkpoint, and for want of room on the host's
//! disk. One at a time, so that nobody lets go on what another has stopped.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::{MutexGuard, PoisonError};

use sandscope_engine::EngineError;

use super::disk;
use super::record::{CHECKPOINT_FILE, HELD_FILE};
use super::sandbox::Sandbox;
use super::step::{cgroup_step, step};

impl Sandbox {
    /// For as long as its user wishes.
    pub(super) fn pause(&self) -> Result<(), EngineError> {
        // What waits for its disk cannot be frozen.
        let _until_paused = self.at_full_speed();
        let turn = self.turn();
        let was_paused = self.is_paused();
        self.set_paused(true);
        if let Err(error) = self.freeze() {
            self.set_paused(was_paused);
            return Err(error);
        }
        // From now on it stands still because of this.
        self.forget_hold()?;
        drop(turn);
        self.give_back();
        Ok(())
    }

    pub(super) fn resume(&self) -> Result<(), EngineError> {
        let _turn = self.turn();
        self.thaw()?;
        self.set_paused(false);
        Ok(())
    }

    /// For as long as `copy` takes.
    pub(super) fn stand_still<T>(&self, copy: impl FnOnce() -> T) -> Result<T, EngineError> {
        let _turn = self.turn();
        if self.is_paused() {
            return Ok(copy());
        }
        let marker = self.dir.join(CHECKPOINT_FILE);
        // Lets a start after a crash distinguish this freeze from a pause.
        File::create(&marker).map_err(step("note the checkpoint"))?;
        self.set_capturing(true);
        self.freeze()?;
        let copied = copy();
        self.thaw()?;
        self.set_capturing(false);
        std::fs::remove_file(&marker).map_err(step("note the checkpoint's end"))?;
        Ok(copied)
    }

    /// Until there is room on the host's disk for what it has in use. Says whether it stands still now.
    pub(super) fn hold(&self) -> Result<bool, EngineError> {
        let Ok(_turn) = self.freezer.try_lock() else { return Ok(false) };
        if !self.is_running() {
            return Ok(self.is_paused());
        }
        let _until_held = self.at_full_speed();
        // As with a checkpoint; on a full disk an empty file may still be made.
        File::create(self.dir.join(HELD_FILE)).map_err(step("note that the sandbox is held"))?;
        self.set_held(true);
        self.freeze()?;
        Ok(true)
    }

    /// There is room again.
    pub(super) fn let_go_on(&self) -> Result<(), EngineError> {
        let _turn = self.turn();
        if self.is_running() {
            self.thaw()?;
        }
        self.forget_hold()
    }

    /// Gives what is free on its disk back to the host: nobody waits for it now.
    fn give_back(&self) {
        let Some(live) = self.live() else { return };
        if let Err(error) = disk::trim(live.disk.as_fd()) {
            tracing::debug!(sandbox_id = %self.id, %error, "what it gave up stays on the host's disk");
        }
    }

    fn forget_hold(&self) -> Result<(), EngineError> {
        self.set_held(false);
        match std::fs::remove_file(self.dir.join(HELD_FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(step("note that the sandbox is held no more")(error))
            }
            _ => Ok(()),
        }
    }

    fn freeze(&self) -> Result<(), EngineError> {
        self.cgroup.freeze().map_err(cgroup_step("freeze the sandbox"))
    }

    fn thaw(&self) -> Result<(), EngineError> {
        self.cgroup.thaw().map_err(cgroup_step("thaw the sandbox"))
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.freezer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
