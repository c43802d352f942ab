//! A disk that is really full.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use sandscope_model::{EventType, KillReason, State};
use sandscope_store::{Change, Store, StoreError};

use crate::support::{StepClock, at, draft, execution, sandbox, team};

/// A file system in memory, gone with the test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, loudly, where nothing may be mounted.
    #[expect(clippy::print_stderr, reason = "a test says what it skips")]
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let flags = rustix::mount::MountFlags::empty();
        match rustix::mount::mount("none", dir.path(), "tmpfs", flags, Some(c"size=16m")) {
            Ok(()) => Some(Self(dir)),
            Err(error) => {
                eprintln!("SKIPPED, nothing can be mounted here: {error}");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn fill(&self) {
        let mut filler = File::options().create(true).append(true).open(self.path().join("filler")).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[tokio::test]
async fn on_a_full_disk_what_ends_a_sandbox_is_recorded_and_nothing_else() {
    let Some(disk) = SmallDisk::new() else { return };
    let store = Store::open(disk.path(), Arc::new(StepClock::default())).unwrap();
    let team = team("first");
    store.facts.create_team(team.clone()).await.unwrap();
    let mut sandboxes = Vec::new();
    for n in 0..6 {
        let mut sandbox = sandbox(&team, n);
        store.facts.admit_sandbox(&sandbox, 1_000, None).await.unwrap();
        sandbox.state = State::Running { execution: execution(&sandbox) };
        let event = Some(draft(&sandbox, EventType::Created, at(n)));
        store.facts.commit(Change { sandbox: sandbox.clone(), event, snapshot: None }).await.unwrap();
        sandbox.generation += 1;
        sandboxes.push(sandbox);
    }
    disk.fill();
    let last = sandboxes.pop().unwrap();
    let update = async || {
        let event = Some(draft(&last, EventType::Updated, at(50)));
        store.facts.commit(Change { sandbox: last.clone(), event, snapshot: None }).await
    };
    // Until the room that the log has kept for itself is gone.
    let mut generation = last.generation;
    loop {
        let mut sandbox = last.clone();
        sandbox.generation = generation;
        let event = Some(draft(&sandbox, EventType::Updated, at(50)));
        match store.facts.commit(Change { sandbox, event, snapshot: None }).await {
            Ok(_) => generation += 1,
            Err(error) => {
                assert_eq!(error, StoreError::Full);
                break;
            }
        }
    }
    for mut sandbox in sandboxes {
        let execution = sandbox.state.execution().cloned();
        let last_execution_id = execution.as_ref().unwrap().id;
        let reason = KillReason::Request;
        sandbox.state = State::Killing { reason, cause: None, execution, last_execution_id };
        store
            .facts
            .commit(Change { sandbox: sandbox.clone(), event: None, snapshot: None })
            .await
            .unwrap_or_else(|error| panic!("nothing can be ended: {error}"));
        sandbox.generation += 1;
        let event = Some(draft(&sandbox, EventType::Killed, at(60)));
        sandbox.state = State::Killed { reason, exit: None, killed_at: at(60), last_execution_id };
        store.facts.commit(Change { sandbox, event, snapshot: None }).await.unwrap();
        // It would take what is kept for the next.
        assert_eq!(update().await, Err(StoreError::Full));
    }
    store.close().await;
    std::fs::remove_file(disk.path().join("filler")).unwrap();
    let store = Store::open(disk.path(), Arc::new(StepClock::default())).unwrap();
    assert_eq!(store.facts.live_sandboxes().await.unwrap().len(), 1);
    assert!(store.facts.create_team(crate::support::team("second")).await.unwrap(), "there is room again");
    store.close().await;
}
