//! A store with a team to whose sandboxes things happen, and alerts that look when they are asked to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sandscope_model::{
    AlertBy, AlertChange, AlertMetric, AlertRule, AlertRuleId, AlertSide, Clock as _, Death, Entropy,
    EventDraft, EventId, EventType, Execution, ExecutionId, ExecutionSummary, Fact, KillReason, Sandbox,
    SandboxId, Secret, State, TeamAlertRule, TeamId, TeamLimits, TemplateId, Webhook, WebhookId,
    WebhookOptions,
};
use sandscope_sampler::Live;
use sandscope_store::{Change, FaultPlan, RuleOutcome, Store};
use sandscope_testbed::{SeededEntropy, StepClock};

use super::*;

pub(super) struct House {
    pub(super) _dir: tempfile::TempDir,
    pub(super) clock: StepClock,
    pub(super) faults: FaultPlan,
    pub(super) options: AlertOptions,
    pub(super) team: TeamId,
    pub(super) alerts: Alerts,
    pub(super) n_rounds: u64,
    pub(super) disk_is_short: Arc<AtomicBool>,
}

pub(super) fn rule(name: &str, metric: AlertMetric, threshold: f64, within_s: u32, by: AlertBy) -> AlertRule {
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

pub(super) fn crash_loop() -> AlertRule {
    rule("crash-loop", AlertMetric::Crashes, 3.0, 60, AlertBy::Template)
}

pub(super) fn template(n: u8) -> TemplateId {
    format!("{n:020}").parse().unwrap()
}

impl House {
    pub(super) async fn new(rules: Vec<AlertRule>) -> Self {
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
        let disk_is_short = Arc::<AtomicBool>::default();
        let options = AlertOptions {
            rules,
            prices: Some(prices),
            alerts: store.alerts,
            events: store.events,
            facts: store.facts,
            deliveries: store.deliveries,
            samples: store.samples,
            host_disk_is_short: Arc::new({
                let short = Arc::clone(&disk_is_short);
                move || short.load(Ordering::Acquire)
            }),
            clock: Arc::new(clock.clone()),
            entropy,
            live: Live::default(),
            stats: Arc::default(),
        };
        let mut alerts = Alerts::new(options.clone());
        alerts.read_rules().await.unwrap();
        Self { _dir: dir, clock, faults, options, team: team.id, alerts, n_rounds: 0, disk_is_short }
    }

    /// A server that ends here, and another over the same files.
    pub(super) async fn restart(&mut self) {
        self.alerts = Alerts::new(self.options.clone());
        self.alerts.read_rules().await.unwrap();
    }

    pub(super) async fn round(&mut self) -> Result<(), StoreError> {
        let round = LiveRound { at: self.clock.now(), uptime: self.clock.uptime(), points: Vec::new() };
        self.n_rounds += 1;
        self.alerts.round(&round, self.n_rounds).await
    }

    /// A round in which usage and webhooks are looked at.
    pub(super) async fn metered(&mut self) {
        self.n_rounds = METER - 1;
        self.round().await.unwrap();
    }

    /// A sandbox that runs.
    pub(super) async fn sandbox(&self, of: u8, labels: &[(&str, &str)]) -> Sandbox {
        let (now, entropy) = (self.clock.now(), &*self.options.entropy);
        let execution = Execution {
            id: ExecutionId::generate(entropy),
            started_at: now,
            vcpu_count: 2,
            memory_mb: 512,
            span: None,
        };
        let metadata = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let id = (SandboxId::generate(entropy), self.team, template(of));
        let mut sandbox = Sandbox::example(id, State::Creating { execution: execution.clone() }, now);
        sandbox.spec.metadata = metadata.collect();
        self.options.facts.admit_sandbox(&sandbox, 10_000, None).await.unwrap();
        sandbox.state = State::Running { execution };
        self.commit(sandbox, Fact::Created).await
    }

    pub(super) async fn commit(&self, sandbox: Sandbox, fact: Fact) -> Sandbox {
        let id = EventId::generate(&*self.options.entropy);
        let event = EventDraft::of_sandbox(id, &sandbox, None, fact, self.clock.now());
        let change = Change { sandbox: sandbox.clone(), event: Some(event), snapshot: None };
        self.options.facts.commit(change).await.unwrap();
        Sandbox { generation: sandbox.generation + 1, ..sandbox }
    }

    pub(super) async fn end(&self, sandbox: Sandbox, reason: KillReason) {
        let State::Running { execution } = sandbox.state.clone() else { panic!("it runs") };
        let now = self.clock.now();
        let summary = ExecutionSummary::new(&execution, now);
        let state = State::Killed { reason, exit: None, killed_at: now, last_execution_id: execution.id };
        let death = Death { execution: Some(summary), ..Death::of(reason) };
        self.commit(Sandbox { state, ..sandbox }, Fact::Killed(death)).await;
    }

    pub(super) async fn die(&self, of: u8, labels: &[(&str, &str)], reason: KillReason) {
        let sandbox = self.sandbox(of, labels).await;
        self.end(sandbox, reason).await;
    }

    /// What was published: whether it fires, by which rule, about what.
    pub(super) async fn published(&self) -> Vec<(bool, String, String)> {
        let events = self.options.events.events_after(self.team, 0, 10_000).await.unwrap();
        let alerts = events.iter().filter_map(|event| {
            let Fact::Alert { change, notice } = &event.fact else { return None };
            Some((*change == AlertChange::Firing, notice.rule.clone(), event.subject.key().to_string()))
        });
        alerts.collect()
    }

    /// A webhook of the team.
    pub(super) async fn webhook(&self) -> WebhookId {
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

    pub(super) async fn own(&self, rule: AlertRule) -> TeamAlertRule {
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

pub(super) fn published(is_firing: bool, rule: &str, subject: &str) -> (bool, String, String) {
    (is_firing, rule.to_owned(), subject.to_owned())
}
