//! The task that hands events to readers fails, is seen, and they miss nothing.

use std::pin::pin;

use sandscope_model::{
    Clock as _, EventDraft, EventType, Execution, Sandbox, SandboxRef, State, Team, TeamLimits,
};
use sandscope_store::{Change, Store};
use sandscope_tasks::TaskState;
use sandscope_testbed::{StepClock, wait_poisoned};

use super::*;

/// How long anything may take before the test says that it never happens.
const PATIENCE: Duration = Duration::from_secs(10);

fn id<T: From<uuid::Uuid>>(n: u128) -> T {
    uuid::Uuid::from_u128(n).into()
}

/// A sandbox to which things happen.
struct World {
    clock: StepClock,
    store: Store,
    sandbox: Sandbox,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let (dir, clock) = (tempfile::tempdir().unwrap(), StepClock::new());
        let store = Store::open(dir.path(), Arc::new(clock.clone())).unwrap();
        let now = clock.now();
        let team = Team {
            id: id(1),
            name: "team".to_owned(),
            slug: "team".to_owned(),
            limits: TeamLimits::default(),
            created_at: now,
        };
        store.facts.create_team(team).await.unwrap();
        let execution = Execution { id: id(2), started_at: now, vcpu_count: 2, memory_mb: 512, span: None };
        let ids = ("i0123456789abcdefghij".parse().unwrap(), id(1), "00000000000000000000".parse().unwrap());
        let sandbox = Sandbox::example(ids, State::Running { execution }, now);
        store.facts.admit_sandbox(&sandbox, 100, None).await.unwrap();
        Self { clock, store, sandbox, _dir: dir }
    }

    /// Another event; returns its number.
    async fn happens(&mut self) -> u64 {
        let ids = (id(100 + u128::from(self.sandbox.generation)), self.sandbox.team_id);
        let of = SandboxRef::of(&self.sandbox);
        let draft = EventDraft::example(EventType::Updated, ids, of, self.clock.now());
        let change = Change { sandbox: self.sandbox.clone(), event: Some(draft), snapshot: None };
        self.sandbox.generation += 1;
        self.store.facts.commit(change).await.unwrap().unwrap().sequence
    }
}

/// Everything that follows `after` up to `upto`, as a stream takes it: from the run, or from the log where it is sent
/// there. Says whether it was.
async fn take(world: &World, reader: &mut Reader, after: u64, upto: u64) -> (Vec<u64>, bool) {
    let (mut taken, mut read_log) = (Vec::new(), false);
    let taking = async {
        loop {
            let after = taken.last().copied().unwrap_or(after);
            match reader.next(after, 10) {
                Next::Events(events) => taken.extend(events.iter().map(|rendered| rendered.event.sequence)),
                Next::ReadLog => {
                    read_log = true;
                    let events = world.store.events.events_after(reader.team, after, 10).await.unwrap();
                    taken.extend(events.iter().map(|event| event.sequence));
                }
                Next::Nothing => {}
            }
            if taken.last().is_some_and(|last| *last >= upto) {
                return;
            }
            assert!(reader.changed().await);
        }
    };
    tokio::time::timeout(PATIENCE, taking).await.unwrap();
    (taken, read_log)
}

#[tokio::test]
async fn a_task_that_fails_is_seen_and_readers_get_what_they_missed_and_what_follows() {
    let mut world = World::new().await;
    let tasks = sandscope_testbed::tasks(Arc::new(world.clock.clone()));
    let health = watch::Sender::new(Health::Serving);
    let events = world.store.events.clone();
    let readers = EventReaders::new(events, health.subscribe(), StreamOptions::default(), tasks.clone());
    let mut reader = readers.join(world.sandbox.team_id).unwrap();
    assert_eq!(world.happens().await, 1);
    assert!(tokio::time::timeout(PATIENCE, reader.changed()).await.unwrap());
    assert_eq!(take(&world, &mut reader, 0, 1).await, (vec![1], false));
    // The task breaks by telling this one.
    let mut poisoned = readers.join(world.sandbox.team_id).unwrap();
    let mut waiting = pin!(poisoned.changed());
    assert!(wait_poisoned(waiting.as_mut()).is_pending());
    assert_eq!(world.happens().await, 2);
    let failed = async {
        while tasks.in_trouble().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, failed).await.unwrap();
    let status = tasks.statuses().remove(0);
    assert_eq!((status.name, status.state), ("event-streams", TaskState::Waiting));
    assert_eq!(status.last_exit.unwrap().failure.as_deref(), Some("panicked: planned, at a waking"));
    // Nobody hears of this one.
    assert_eq!(world.happens().await, 3);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(take(&world, &mut reader, 1, 3).await, (vec![2, 3], true));
    let status = tasks.statuses().remove(0);
    assert_eq!((status.state, status.n_restarts), (TaskState::Running, 1));
    // As before: what comes is handed over. Who it was that broke it hears of it, too.
    assert_eq!(world.happens().await, 4);
    assert!(tokio::time::timeout(PATIENCE, reader.changed()).await.unwrap());
    assert_eq!(take(&world, &mut reader, 3, 4).await, (vec![4], false));
    assert!(tokio::time::timeout(PATIENCE, waiting).await.unwrap());
}
