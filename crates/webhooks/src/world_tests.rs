//! A store with a team, sandboxes to which things happen and a clock that does not move by itself, for the other test
//! files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sandscope_model::{
    Clock, Event, EventDraft, EventType, Exception, Execution, Sandbox, SandboxRef, Secret, State, Team,
    TeamLimits, Webhook, WebhookOptions,
};
use sandscope_outbound::{AllowedTarget, EgressGuard};
use sandscope_store::{Admission, AttemptQuery, Change, FaultPlan, Order, Store};
use sandscope_testbed::{SeededEntropy, StepClock};
use tempfile::TempDir;

use crate::receiver::{Answer, BOUND, Receiver};
use crate::{Webhooks, WebhooksOptions};

pub(crate) fn id<T: From<uuid::Uuid>>() -> T {
    static N: AtomicU64 = AtomicU64::new(1);
    uuid::Uuid::from_u128(u128::from(N.fetch_add(1, Ordering::SeqCst))).into()
}

/// A store with a team, sandboxes to which things happen, and a clock that does not move by itself.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) clock: StepClock,
    pub(crate) faults: FaultPlan,
    pub(crate) store: Store,
    pub(crate) team: Team,
    pub(crate) sandboxes: Mutex<Vec<Sandbox>>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let clock = StepClock::new();
        let faults = FaultPlan::none();
        let store = Store::open_with(dir.path(), Arc::new(clock.clone()), faults.clone()).unwrap();
        let team = Team {
            id: id(),
            name: "team".to_owned(),
            slug: "team".to_owned(),
            limits: TeamLimits::default(),
            created_at: clock.now(),
        };
        store.facts.create_team(team.clone()).await.unwrap();
        let world = Self { dir, clock, faults, store, team, sandboxes: Mutex::default() };
        for n in 0..16 {
            let sandbox = world.sandbox(n);
            let admission = world.store.facts.admit_sandbox(&sandbox, 100, None).await.unwrap();
            assert_eq!(admission, Admission::Admitted);
            world.sandboxes.lock().unwrap().push(sandbox);
        }
        world
    }

    pub(crate) fn sandbox(&self, n: usize) -> Sandbox {
        let now = self.clock.now();
        let execution = Execution { id: id(), started_at: now, vcpu_count: 2, memory_mb: 512, span: None };
        let id =
            (format!("i{n:020}").parse().unwrap(), self.team.id, "00000000000000000000".parse().unwrap());
        Sandbox::example(id, State::Creating { execution }, now)
    }

    /// Something happens to the `n`-th sandbox (of 16, round and round).
    pub(crate) async fn happens(&self, n: usize, event_type: EventType) -> Event {
        let sandbox = {
            let mut sandboxes = self.sandboxes.lock().unwrap();
            let n = n % sandboxes.len();
            let sandbox = sandboxes[n].clone();
            sandboxes[n].generation += 1;
            sandbox
        };
        let ids = (id(), sandbox.team_id);
        let draft = EventDraft::example(event_type, ids, SandboxRef::of(&sandbox), self.clock.now());
        let change = Change { sandbox, event: Some(draft), snapshot: None };
        self.store.facts.commit(change).await.unwrap().unwrap()
    }

    pub(crate) async fn happen(&self, n: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for n in 0..n {
            ids.push(self.happens(n, EventType::Updated).await.id.to_string());
        }
        ids
    }

    pub(crate) async fn webhook(&self, url: &str) -> Webhook {
        let webhook = Webhook {
            id: id(),
            team_id: self.team.id,
            name: "hook".to_owned(),
            url: url.to_owned(),
            events: EventType::listed().collect(),
            enabled: true,
            signature_secret: Secret::new("secret".to_owned()),
            previous_secret: None,
            headers: BTreeMap::new(),
            options: WebhookOptions::default(),
            created_at: self.clock.now(),
        };
        assert!(self.store.deliveries.insert_webhook(webhook.clone(), 100).await.unwrap());
        webhook
    }

    pub(crate) fn options(&self) -> WebhooksOptions {
        self.options_over(&self.store)
    }

    /// The same over the store of a later start.
    pub(crate) fn options_over(&self, store: &Store) -> WebhooksOptions {
        let guard = EgressGuard::new(AllowedTarget::loopback());
        let entropy = Arc::new(SeededEntropy::new(1));
        let tasks = sandscope_testbed::tasks(Arc::new(self.clock.clone()));
        WebhooksOptions::new(store, Arc::new(self.clock.clone()), entropy, guard, tasks)
    }

    pub(crate) fn start(&self) -> Webhooks {
        Webhooks::start(self.options())
    }

    pub(crate) async fn attempts(&self, webhook: &Webhook) -> Vec<sandscope_model::Attempt> {
        let query = AttemptQuery {
            cursor: None,
            limit: 1_000,
            order: Order::Asc,
            start: None,
            end: None,
            success: None,
            types: Vec::new(),
        };
        self.store.attempts.attempts(self.team.id, webhook.id, query).await.unwrap()
    }

    pub(crate) async fn exceptions(&self, webhook: &Webhook) -> Vec<Exception> {
        self.store.deliveries.exceptions(webhook.id).await.unwrap()
    }

    pub(crate) async fn cursor(&self, webhook: &Webhook) -> u64 {
        self.store.deliveries.cursor(webhook.id).await.unwrap().unwrap()
    }
}

/// Waits until `condition` holds, looking again and again.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let look = async {
        while !condition().await {
            // sleep: the pause between two looks
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(BOUND, look).await.is_ok(), "never: {what}");
}

pub(crate) fn ids(receiver: &Receiver) -> BTreeSet<String> {
    receiver.received().iter().map(crate::receiver::Received::event_id).collect()
}

pub(crate) async fn ok() -> Receiver {
    Receiver::start(|_| Answer::Status(200)).await
}
