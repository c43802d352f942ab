//! Alerts over a running sampler: when they are published, how often, and what survives.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sandscope_alerts::AlertOptions;
use sandscope_model::{AlertBy, AlertMetric, AlertRule, AlertSide, Clock as _, Entropy, EventType, Fact};
use sandscope_sampler::Live;
use sandscope_tasks::TaskState;
use sandscope_testbed::SeededEntropy;

#[path = "../../sampler/tests/sampler/house.rs"]
#[expect(dead_code, reason = "it is the house of the sampler's own tests, too")]
mod house;

use house::House;

/// A sampler whose seconds are watched.
struct Watched {
    house: House,
    rules: Vec<AlertRule>,
    /// Where events' ids come from, if not from a seed.
    entropy: Option<Arc<dyn Entropy>>,
}

/// Panics the first time an id is drawn.
#[derive(Debug)]
struct PoisonEntropy {
    was_asked: AtomicBool,
    ids: SeededEntropy,
}

impl Entropy for PoisonEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        assert!(self.was_asked.swap(true, Ordering::SeqCst), "planned, at the first id");
        self.ids.fill(bytes);
    }
}

impl Watched {
    async fn new() -> Self {
        Self { house: House::new().await, rules: Vec::new(), entropy: None }
    }

    /// Starts sampler and alerts, as a server does.
    async fn start(&mut self) {
        let live = Live::default();
        self.house.live = Some(live.clone());
        self.house.start().await;
        let clock = &self.house.clock;
        let store = self.house.store.clone();
        let seed = clock.now().as_millisecond().unsigned_abs();
        let options = AlertOptions {
            rules: self.rules.clone(),
            prices: None,
            stats: Arc::default(),
            alerts: store.alerts,
            events: store.events,
            facts: store.facts,
            deliveries: store.deliveries,
            samples: store.samples,
            host_disk_is_short: Arc::new(|| false),
            clock: Arc::new(clock.clone()),
            entropy: self.entropy.clone().unwrap_or_else(|| Arc::new(SeededEntropy::new(seed))),
            live,
        };
        sandscope_alerts::start(options, &self.house.tasks);
    }

    /// Lets `n` seconds pass.
    async fn seconds(&self, n: u64) {
        self.house.pass(Duration::from_secs(n)).await;
        tokio::task::yield_now().await;
    }

    /// What was published about alerts: type and rule.
    async fn published(&self) -> Vec<(EventType, String)> {
        let events = self.house.store.events.events_after(self.house.team.id, 0, 100).await.unwrap();
        let alerts = events.iter().filter_map(|event| {
            let Fact::Alert { notice, .. } = &event.fact else { return None };
            Some((event.event_type(), notice.rule.clone()))
        });
        alerts.collect()
    }

    /// Waits until that many were published.
    async fn wait_published(&self, n: usize) -> Vec<(EventType, String)> {
        let waiting = async {
            loop {
                let published = self.published().await;
                if published.len() >= n {
                    return published;
                }
                self.seconds(1).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap()
    }
}

fn busy() -> AlertRule {
    AlertRule {
        name: "busy".to_owned(),
        metric: AlertMetric::CpuPct,
        side: AlertSide::Above,
        threshold: 40.0,
        clear: 20.0,
        for_s: 3,
        within_s: 0,
        by: AlertBy::Sandbox,
    }
}

#[tokio::test]
async fn an_alert_is_told_once_survives_a_restart_and_resolves() {
    let mut house = Watched::new().await;
    house.rules = vec![busy()];
    let id = house.house.sandbox(2).await;
    house.start().await;
    house.seconds(6).await;
    assert_eq!(house.published().await, []);
    house.house.runtime.set_load(&id, 1.0);
    let firing = (EventType::AlertFiring, "busy".to_owned());
    assert_eq!(house.wait_published(1).await, std::slice::from_ref(&firing));
    house.seconds(6).await;

    // Another server over the same store.
    house.house.stop().await;
    house.start().await;
    house.seconds(8).await;
    assert_eq!(
        house.published().await,
        std::slice::from_ref(&firing),
        "published once, also after a restart"
    );
    assert_eq!(house.house.store.alerts.firing_alerts(house.house.team.id, 9).await.unwrap().len(), 1);
    house.house.runtime.set_load(&id, 0.0);
    assert_eq!(house.wait_published(2).await, [firing, (EventType::AlertResolved, "busy".to_owned())]);
    assert_eq!(house.house.store.alerts.firing_alerts(house.house.team.id, 9).await.unwrap(), []);
}

#[tokio::test]
async fn an_alert_whose_rule_is_gone_resolves_at_the_next_start() {
    let mut house = Watched::new().await;
    house.rules = vec![busy()];
    let id = house.house.sandbox(2).await;
    house.house.runtime.set_load(&id, 2.0);
    house.start().await;
    house.wait_published(1).await;
    house.house.stop().await;
    house.rules = vec![AlertRule { name: "other".to_owned(), threshold: 101.0, clear: 101.0, ..busy() }];
    house.start().await;
    let published = house.wait_published(2).await;
    assert_eq!(published[1], (EventType::AlertResolved, "busy".to_owned()));
}

#[tokio::test]
async fn alerts_that_fail_are_seen_and_what_fires_is_published_once_all_the_same() {
    let mut house = Watched::new().await;
    house.rules = vec![busy()];
    house.entropy =
        Some(Arc::new(PoisonEntropy { was_asked: AtomicBool::new(false), ids: SeededEntropy::new(1) }));
    let id = house.house.sandbox(2).await;
    house.house.runtime.set_load(&id, 2.0);
    house.start().await;
    let firing = (EventType::AlertFiring, "busy".to_owned());
    assert_eq!(house.wait_published(1).await, std::slice::from_ref(&firing));
    let alerts = house.house.tasks.statuses().into_iter().find(|task| task.name == "alerts").unwrap();
    assert_eq!((alerts.state, alerts.n_restarts), (TaskState::Running, 1));
    house.seconds(6).await;
    assert_eq!(house.published().await, [firing]);
}
