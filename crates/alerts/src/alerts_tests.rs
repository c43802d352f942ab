//! Rules on events, usage and webhooks over the real store, a second at a time, with servers that end at any moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use sandscope_model::{
    AlertBy, AlertChange, AlertMetric, AlertRule, AlertRuleId, AlertSide, Clock as _, Death, Entropy,
    EventDraft, EventId, EventType, Execution, ExecutionId, ExecutionSummary, Fact, KillReason,
    MetricField as F, Sandbox, SandboxId, Secret, State, TeamAlertRule, TeamId, TeamLimits, TemplateId,
    Timestamp, Values, Webhook, WebhookHealth, WebhookId, WebhookOptions,
};
use sandscope_sampler::Live;
use sandscope_store::fault::Fault;
use sandscope_store::{Change, DeliveryProgress, FaultPlan, RuleOutcome, Store};
use sandscope_testbed::{SeededEntropy, StepClock};

use super::*;

struct House {
    _dir: tempfile::TempDir,
    clock: StepClock,
    faults: FaultPlan,
    options: AlertOptions,
    team: TeamId,
    alerts: Alerts,
    n_rounds: u64,
}

fn rule(name: &str, metric: AlertMetric, threshold: f64, within_s: u32, by: AlertBy) -> AlertRule {
    AlertRule {
        name: name.to_owned(),
        metric,
        side: AlertSide::Above,
        threshold,
        clear: threshold,
        for_s: 0,
        within_s,
        by,
    }
}

fn crash_loop() -> AlertRule {
    rule("crash-loop", AlertMetric::Crashes, 3.0, 60, AlertBy::Template)
}

fn template(n: u8) -> TemplateId {
    format!("{n:020}").parse().unwrap()
}

impl House {
    async fn new(rules: Vec<AlertRule>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (clock, faults) = (StepClock::new(), FaultPlan::none());
        let store = Store::open_with(dir.path(), Arc::new(clock.clone()), faults.clone()).unwrap();
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(1));
        let team = sandscope_model::Team {
            id: TeamId::generate(&*entropy),
            name: "first".to_owned(),
            slug: "first".to_owned(),
            limits: TeamLimits::default(),
            created_at: clock.now(),
        };
        store.facts.create_team(team.clone()).await.unwrap();
        let prices = sandscope_model::Prices {
            currency: "EUR".to_owned(),
            vcpu_hour: "0.5".parse().unwrap(),
            gib_hour: "0".parse().unwrap(),
        };
        let options = AlertOptions {
            rules,
            prices: Some(prices),
            alerts: store.alerts,
            events: store.events,
            facts: store.facts,
            deliveries: store.deliveries,
            samples: store.samples,
            clock: Arc::new(clock.clone()),
            entropy,
            live: Live::default(),
            stats: Arc::default(),
        };
        let mut alerts = Alerts::new(options.clone());
        alerts.read_rules().await.unwrap();
        Self { _dir: dir, clock, faults, options, team: team.id, alerts, n_rounds: 0 }
    }

    /// A server that ends here, and another over the same files.
    async fn restart(&mut self) {
        self.alerts = Alerts::new(self.options.clone());
        self.alerts.read_rules().await.unwrap();
    }

    async fn round(&mut self) -> Result<(), StoreError> {
        let round = LiveRound { at: self.clock.now(), points: Vec::new() };
        self.n_rounds += 1;
        self.alerts.round(&round, self.n_rounds).await
    }

    /// A round in which usage and webhooks are looked at.
    async fn metered(&mut self) {
        self.n_rounds = METER - 1;
        self.round().await.unwrap();
    }

    /// A sandbox that runs.
    async fn sandbox(&self, of: u8, labels: &[(&str, &str)]) -> Sandbox {
        let (now, entropy) = (self.clock.now(), &*self.options.entropy);
        let execution =
            Execution { id: ExecutionId::generate(entropy), started_at: now, vcpu_count: 2, memory_mb: 512 };
        let metadata = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let id = (SandboxId::generate(entropy), self.team, template(of));
        let mut sandbox = Sandbox::example(id, State::Creating { execution: execution.clone() }, now);
        sandbox.spec.metadata = metadata.collect();
        self.options.facts.admit_sandbox(&sandbox, 10_000, None).await.unwrap();
        sandbox.state = State::Running { execution };
        self.commit(sandbox, Fact::Created).await
    }

    async fn commit(&self, sandbox: Sandbox, fact: Fact) -> Sandbox {
        let id = EventId::generate(&*self.options.entropy);
        let event = EventDraft::of_sandbox(id, &sandbox, None, fact, self.clock.now());
        let change = Change { sandbox: sandbox.clone(), event: Some(event), snapshot: None };
        self.options.facts.commit(change).await.unwrap();
        Sandbox { generation: sandbox.generation + 1, ..sandbox }
    }

    async fn end(&self, sandbox: Sandbox, reason: KillReason) {
        let State::Running { execution } = sandbox.state.clone() else { panic!("it runs") };
        let now = self.clock.now();
        let summary = ExecutionSummary::new(&execution, now);
        let state = State::Killed { reason, exit: None, killed_at: now, last_execution_id: execution.id };
        let death = Death { execution: Some(summary), ..Death::of(reason) };
        self.commit(Sandbox { state, ..sandbox }, Fact::Killed(death)).await;
    }

    async fn die(&self, of: u8, labels: &[(&str, &str)], reason: KillReason) {
        let sandbox = self.sandbox(of, labels).await;
        self.end(sandbox, reason).await;
    }

    /// What was published: whether it fires, by which rule, about what.
    async fn published(&self) -> Vec<(bool, String, String)> {
        let events = self.options.events.events_after(self.team, 0, 10_000).await.unwrap();
        let alerts = events.iter().filter_map(|event| {
            let Fact::Alert { change, notice } = &event.fact else { return None };
            Some((*change == AlertChange::Firing, notice.rule.clone(), event.subject.key().to_string()))
        });
        alerts.collect()
    }

    /// A webhook of the team.
    async fn webhook(&self) -> WebhookId {
        let id = WebhookId::generate(&*self.options.entropy);
        let webhook = Webhook {
            id,
            team_id: self.team,
            name: "w".to_owned(),
            url: "http://127.0.0.1:9/".to_owned(),
            events: [EventType::Killed].into(),
            enabled: true,
            signature_secret: Secret::new("s".to_owned()),
            previous_secret: None,
            headers: BTreeMap::new(),
            options: WebhookOptions::default(),
            created_at: self.clock.now(),
        };
        self.options.deliveries.insert_webhook(webhook, 10).await.unwrap();
        id
    }

    async fn own(&self, rule: AlertRule) -> TeamAlertRule {
        let new = TeamAlertRule {
            id: AlertRuleId::generate(&*self.options.entropy),
            team_id: self.team,
            revision: 1,
            created_at: self.clock.now(),
            rule,
        };
        let outcome = self.options.alerts.insert_alert_rule(new.clone(), 100).await.unwrap();
        assert_eq!(outcome, RuleOutcome::Stored(new.clone()));
        new
    }
}

fn published(is_firing: bool, rule: &str, subject: &str) -> (bool, String, String) {
    (is_firing, rule.to_owned(), subject.to_owned())
}

#[tokio::test]
async fn deaths_are_counted_for_each_template_and_label_and_only_those_nobody_asked_for() {
    let by_user = rule("by-user", AlertMetric::Crashes, 2.0, 60, AlertBy::Label("user".to_owned()));
    let memory = rule("memory", AlertMetric::OutOfMemory, 1.0, 60, AlertBy::Team);
    let mut house = House::new(vec![crash_loop(), by_user, memory]).await;
    house.round().await.unwrap();
    let ann = [("user", "ann")];
    house.die(1, &ann, KillReason::Crashed).await;
    house.die(1, &[], KillReason::Request).await;
    house.die(1, &[("user", "bob")], KillReason::AgentLost).await;
    house.die(2, &ann, KillReason::Timeout).await;
    house.round().await.unwrap();
    assert_eq!(house.published().await, []);
    house.die(2, &ann, KillReason::Crashed).await;
    house.round().await.unwrap();
    let mut expected = vec![published(true, "by-user", "metadata.user=ann")];
    assert_eq!(house.published().await, expected);
    house.clock.advance(Duration::from_secs(30));
    house.die(1, &[], KillReason::Oom).await;
    house.round().await.unwrap();
    expected.push(published(true, "crash-loop", &format!("template:{}", template(1))));
    expected.push(published(true, "memory", "team"));
    assert_eq!(house.published().await, expected);
    // The first three are over; of the second, one is not.
    house.clock.advance(Duration::from_secs(30));
    house.round().await.unwrap();
    house.clock.advance(Duration::from_secs(30));
    house.round().await.unwrap();
    let all = house.published().await;
    assert_eq!(all.len(), 6, "{all:?}");
    assert!(all[3..].iter().all(|(is_firing, ..)| !is_firing), "{all:?}");
    assert_eq!(all[5].1, "memory", "the youngest lasts longest");
    let events = house.options.events.events_after(house.team, 0, 1_000).await.unwrap();
    let first = events.iter().find(|event| event.event_type() == EventType::AlertFiring).unwrap();
    assert_eq!(
        first.sandbox().unwrap().template_id,
        template(2),
        "it is about the death that came to the threshold"
    );
}

#[tokio::test]
async fn what_came_to_its_threshold_while_the_server_was_down_is_told() {
    let mut house = House::new(vec![crash_loop()]).await;
    house.round().await.unwrap();
    for _ in 0..3 {
        house.die(1, &[], KillReason::Crashed).await;
    }
    house.clock.advance(Duration::from_secs(3_600));
    house.restart().await;
    house.round().await.unwrap();
    house.restart().await;
    house.round().await.unwrap();
    let all = house.published().await;
    assert_eq!(all.iter().map(|(is_firing, ..)| *is_firing).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test]
async fn a_rule_holds_at_once_and_what_it_fired_resolves_when_it_is_changed_or_gone() {
    let mut house = House::new(Vec::new()).await;
    for _ in 0..3 {
        house.die(1, &[], KillReason::Crashed).await;
    }
    house.round().await.unwrap();
    let own = house.own(crash_loop()).await;
    house.alerts.read_rules().await.unwrap();
    house.round().await.unwrap();
    let subject = format!("template:{}", template(1));
    let mut expected = vec![published(true, "crash-loop", &subject)];
    assert_eq!(house.published().await, expected, "what has happened already counts");

    let options = house.options.clone();
    let changed = AlertRule { threshold: 2.0, clear: 2.0, ..crash_loop() };
    let (at, entropy) = (house.clock.now(), Arc::clone(&house.options.entropy));
    options.alerts.update_alert_rule(house.team, own.id, changed, at, Arc::clone(&entropy)).await.unwrap();
    expected.push(published(false, "crash-loop", &subject));
    assert_eq!(house.published().await, expected, "in the same transaction");
    // Still by the old revision: it decides nothing any more.
    house.die(1, &[], KillReason::Crashed).await;
    house.round().await.unwrap();
    assert_eq!(house.published().await, expected);
    house.alerts.read_rules().await.unwrap();
    house.round().await.unwrap();
    expected.push(published(true, "crash-loop", &subject));
    assert_eq!(house.published().await, expected, "it still has to fire");
    assert!(options.alerts.delete_alert_rule(house.team, own.id, at, entropy).await.unwrap());
    house.alerts.read_rules().await.unwrap();
    house.round().await.unwrap();
    expected.push(published(false, "crash-loop", &subject));
    assert_eq!(house.published().await, expected);
    assert_eq!(options.alerts.alert_cursor(house.team).await.unwrap(), None, "nothing is followed");
}

#[tokio::test]
async fn a_budget_fires_when_it_is_used_up_and_resolves_when_that_is_long_ago() {
    let hours = rule("hours", AlertMetric::VcpuHours, 3.0, 4 * 3600, AlertBy::Team);
    let cost = rule("cost", AlertMetric::Cost, 2.0, 4 * 3600, AlertBy::Team);
    let mut house = House::new(vec![hours, cost]).await;
    let (first, second) = (house.sandbox(1, &[]).await, house.sandbox(1, &[]).await);
    house.clock.advance(Duration::from_secs(1_800));
    house.end(first, KillReason::Request).await;
    house.metered().await;
    assert_eq!(house.published().await, [], "two CPUs for half an hour, twice");
    house.clock.advance(Duration::from_secs(1_800));
    house.metered().await;
    let mut expected = vec![published(true, "hours", "team")];
    assert_eq!(house.published().await, expected);
    house.restart().await;
    house.clock.advance(Duration::from_secs(1_800));
    house.metered().await;
    expected.push(published(true, "cost", "team"));
    assert_eq!(house.published().await, expected, "four hours at a half each");
    house.end(second, KillReason::Request).await;
    house.metered().await;
    house.clock.advance(Duration::from_secs(4 * 3600));
    house.metered().await;
    house.clock.advance(Duration::from_secs(3600));
    house.metered().await;
    let resolved = house.published().await;
    assert_eq!(resolved.len(), 4, "{resolved:?}");
    assert!(resolved[2..].iter().all(|(is_firing, ..)| !is_firing), "{resolved:?}");
}

#[tokio::test]
async fn a_webhook_that_fails_for_long_fires_until_it_is_well_or_gone() {
    let failing = rule("failing", AlertMetric::WebhookFailingS, 300.0, 0, AlertBy::Webhook);
    let behind = rule("behind", AlertMetric::WebhookBehind, 2.0, 0, AlertBy::Webhook);
    let mut house = House::new(vec![failing, behind]).await;
    let options = house.options.clone();
    let id = house.webhook().await;
    let running = house.sandbox(1, &[]).await;
    let health =
        |failing_since: Option<Timestamp>| WebhookHealth { failing_since, ..WebhookHealth::default() };
    let progress = |health, cursor| DeliveryProgress {
        health: Some(health),
        cursor: Some(cursor),
        ..DeliveryProgress::of(id)
    };
    options.deliveries.record_deliveries(progress(health(Some(house.clock.now())), 1)).await.unwrap();
    house.metered().await;
    assert_eq!(house.published().await, []);
    house.clock.advance(Duration::from_secs(300));
    house.metered().await;
    let subject = format!("webhook:{id}");
    let mut expected = vec![published(true, "failing", &subject)];
    assert_eq!(house.published().await, expected);
    house.restart().await;
    house.end(running, KillReason::Request).await;
    house.metered().await;
    expected.push(published(true, "behind", &subject));
    assert_eq!(house.published().await, expected);
    options.deliveries.record_deliveries(progress(health(None), 4)).await.unwrap();
    house.metered().await;
    expected.push(published(false, "failing", &subject));
    expected.push(published(false, "behind", &subject));
    assert_eq!(house.published().await, expected);
    house.die(2, &[], KillReason::Request).await;
    house.metered().await;
    options.deliveries.delete_webhook(house.team, id).await.unwrap();
    house.metered().await;
    expected.push(published(true, "behind", &subject));
    expected.push(published(false, "behind", &subject));
    assert_eq!(house.published().await, expected);
    assert_eq!(options.alerts.firing_alerts(house.team, 9).await.unwrap(), []);
}

#[tokio::test]
async fn an_alert_of_a_team_without_events_is_the_first_event_of_its_log_and_borrows_no_sandbox() {
    let failing = rule("failing", AlertMetric::WebhookFailingS, 300.0, 0, AlertBy::Webhook);
    let mut house = House::new(vec![failing]).await;
    let options = house.options.clone();
    let id = house.webhook().await;
    let health = WebhookHealth { failing_since: Some(house.clock.now()), ..WebhookHealth::default() };
    options
        .deliveries
        .record_deliveries(DeliveryProgress { health: Some(health), ..DeliveryProgress::of(id) })
        .await
        .unwrap();
    assert!(
        options.events.events_after(house.team, 0, 10).await.unwrap().is_empty(),
        "nothing ever happened"
    );
    house.clock.advance(Duration::from_secs(300));
    house.metered().await;
    let events = options.events.events_after(house.team, 0, 10).await.unwrap();
    let [event] = &events[..] else { panic!("one event: {events:?}") };
    let Fact::Alert { change: AlertChange::Firing, notice } = &event.fact else { panic!("{event:?}") };
    assert_eq!((event.sequence, event.subject.key().to_string()), (1, format!("webhook:{id}")));
    assert_eq!((notice.rule.as_str(), &notice.sandbox), ("failing", &None));
    house.restart().await;
    house.metered().await;
    assert_eq!(house.told().await.len(), 1, "reported once");
}

#[tokio::test]
async fn what_must_last_for_long_goes_on_over_a_restart() {
    let busy = AlertRule {
        for_s: 60,
        by: AlertBy::Sandbox,
        ..rule("busy", AlertMetric::CpuPct, 90.0, 0, AlertBy::Sandbox)
    };
    let mut house = House::new(vec![busy]).await;
    let (long, short) = (house.sandbox(1, &[]).await, house.sandbox(1, &[]).await);
    let sample = |sandbox: &Sandbox, at: Timestamp, cpu_used: u64| sandscope_model::Sample {
        sandbox_id: sandbox.id.clone(),
        at,
        values: Values::NONE
            .with(F::CpuUsed, cpu_used)
            .with(F::CpuCount, 2)
            .with(F::MemUsed, 1)
            .with(F::MemTotal, 2)
            .with(F::MemCache, 0)
            .with(F::DiskUsed, 1)
            .with(F::DiskTotal, 2),
    };
    // What the server before stored: one was busy all the time, the other rested once.
    for n in 0..11 {
        let at = house.clock.now();
        let rest = if n == 5 { 100 } else { 9_900 };
        house
            .options
            .samples
            .insert_samples(vec![sample(&long, at, 9_900), sample(&short, at, rest)])
            .await
            .unwrap();
        house.clock.advance(Duration::from_secs(5));
    }
    house.restart().await;
    house.clock.advance(Duration::from_secs(5));
    let team_id = house.team;
    let point = |sandbox, at| sandscope_sampler::LivePoint {
        team_id,
        sample: sample(sandbox, at, 9_900),
        totals: Values::NONE,
        pressures: None,
    };
    let at = house.clock.now();
    let round = LiveRound { at, points: vec![point(&long, at), point(&short, at)] };
    house.alerts.round(&round, 1).await.unwrap();
    let subject = format!("sandbox:{}", long.id);
    assert_eq!(
        house.published().await,
        [published(true, "busy", &subject)],
        "a minute, and a restart within it"
    );
}

/// What becomes of the server after a death.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    GoesOn,
    /// It ends before it has looked.
    Ends,
    /// What it decides cannot be stored; then it goes on.
    CannotStore,
    /// What it decides cannot be stored, and it ends.
    CannotStoreAndEnds,
    /// It ended before the death, and is not started again until the next.
    IsDown,
}

/// What is published of deaths, each so many seconds after the one before, by the definition: events are looked at one by
/// one, each at its own time, and what fires resolves when a server looks and it is long ago.
fn naive(deaths: &[(u64, Fate)]) -> Vec<bool> {
    let (mut at, mut seen, mut n_walked, mut is_firing, mut published) =
        (0, Vec::new(), 0, false, Vec::new());
    let mut round = |at: u64, seen: &[u64]| {
        for n in n_walked..seen.len() {
            let lately = seen[..=n].iter().filter(|other| **other + 60 > seen[n]).count();
            if lately >= 3 && !is_firing {
                is_firing = true;
                published.push(true);
            }
        }
        n_walked = seen.len();
        if is_firing && seen.iter().filter(|other| **other + 60 > at).count() < 3 {
            is_firing = false;
            published.push(false);
        }
    };
    let mut is_up = true;
    for (elapsed, fate) in deaths {
        at += elapsed;
        if is_up && *fate != Fate::IsDown {
            round(at, &seen);
        }
        seen.push(at);
        is_up = *fate != Fate::IsDown;
        if is_up {
            round(at, &seen);
        }
    }
    published
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(Fate::GoesOn),
        Just(Fate::Ends),
        Just(Fate::CannotStore),
        Just(Fate::CannotStoreAndEnds),
        Just(Fate::IsDown),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn servers_that_end_at_any_moment_tell_what_one_would_have_told(
        deaths in proptest::collection::vec((0_u64..50, fates()), 1..25),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let seen: Vec<bool> = runtime.block_on(async {
            let mut house = House::new(vec![crash_loop()]).await;
            house.round().await.unwrap();
            let mut is_up = true;
            for (elapsed, fate) in &deaths {
                house.clock.advance(Duration::from_secs(*elapsed));
                if is_up && *fate != Fate::IsDown {
                    house.round().await.unwrap();
                }
                house.die(1, &[], KillReason::Crashed).await;
                let was_up = std::mem::replace(&mut is_up, *fate != Fate::IsDown);
                if !is_up {
                    continue;
                }
                if matches!(fate, Fate::CannotStore | Fate::CannotStoreAndEnds) && was_up {
                    house.faults.fail_always(Some(Fault::Io));
                    // There may have been nothing to store.
                    let _ = house.round().await;
                    house.faults.fail_always(None);
                }
                if !was_up || matches!(fate, Fate::Ends | Fate::CannotStoreAndEnds) {
                    house.restart().await;
                }
                house.round().await.unwrap();
            }
            house.published().await.into_iter().map(|(is_firing, ..)| is_firing).collect()
        });
        prop_assert_eq!(seen, naive(&deaths));
    }
}
