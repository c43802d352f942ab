use std::fmt::Display;
use std::sync::Arc;

use crate::entry::Entry;
use crate::registry::Tasks;
use crate::{Panic, TaskExit, caught};

/// Many tasks of one kind under one name, each started, ended and started anew by its owner: a driver per sandbox, a
/// deliverer per webhook. A panic of one is logged and counted, and makes nothing else fail.
#[derive(Debug, Clone)]
pub struct Crew {
    pub(crate) entry: Arc<Entry>,
    pub(crate) tasks: Tasks,
}

impl Crew {
    /// Runs a member to its end or to its panic, which is logged and counted.
    ///
    /// # Errors
    /// [`Panic`] if it panics.
    pub async fn run<T>(&self, member: &dyn SyncDisplay, work: impl Future<Output = T>) -> Result<T, Panic> {
        let outcome = caught(work).await;
        if let Err(panic) = &outcome {
            self.lost(member, panic);
        }
        outcome
    }

    /// A member panicked.
    pub fn lost(&self, member: &dyn SyncDisplay, panic: &Panic) {
        let failure = format!("{member} {panic}");
        tracing::error!(task = self.entry.name, %member, %panic, "a member of a crew failed");
        self.entry.member_failed(TaskExit { at: self.tasks.now(), failure: Some(failure) });
    }
}

/// What names a member.
pub trait SyncDisplay: Display + Sync {}

impl<T: Display + Sync> SyncDisplay for T {}
