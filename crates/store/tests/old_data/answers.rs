//! Everything a store answers about a data directory, as plain JSON.
//!
//! The only file that follows the store's types when they change. What it says must not change: answers of earlier
//! releases stand beside their fixtures, and each `*_json` below turns whatever the type is called by now into the same
//! words.

use std::fmt::Write as _;

use sandscope_model::{
    EventType, Exception, ExecutionSummary, MetricField, Replay, Sample, Sandbox, SandboxId, SubjectKey,
    Team, Timestamp, Webhook,
};
use sandscope_store::{
    Aggregate, AttemptQuery, EventQuery, LogQuery, Order, Owed, Page, SandboxFilter, SnapshotFilter, Store,
};
use serde_json::{Map, Value, json};

use crate::nouns::at;

/// Ids that fixtures give their sandboxes, and one nobody has.
fn sandbox_ids() -> Vec<SandboxId> {
    (1..=10).map(crate::nouns::sandbox_id).collect()
}

pub(crate) async fn answers(store: &Store) -> Value {
    let mut all = Map::new();
    for team in store.facts.teams().await.unwrap() {
        let mut of_team = of_team(store, &team).await;
        of_team.insert("log".to_owned(), log(store, &team).await);
        of_team.insert("webhooks".to_owned(), webhooks(store, &team).await);
        of_team.insert("alerts".to_owned(), alerts(store, &team).await);
        of_team.insert("ledger".to_owned(), ledger(store, &team).await);
        all.insert(format!("team {}", team.slug), Value::Object(of_team));
    }
    for id in sandbox_ids() {
        all.insert(format!("sandbox {id}"), of_sandbox(store, &id).await);
    }
    all.insert("node".to_owned(), of_node(store).await);
    Value::Object(all)
}

async fn of_team(store: &Store, team: &Team) -> Map<String, Value> {
    let keys = store.facts.api_keys(team.id).await.unwrap();
    let keys: Vec<_> = keys.iter().map(|key| json!([key.id, key.name, key.created_at, key.mask])).collect();
    let mut templates = Vec::new();
    for (template, build) in store.facts.templates(team.id).await.unwrap() {
        templates.push(json!([template.id, template.name, template.kind, build.id, build.rootfs]));
    }
    let page = Page { after: None, limit: 100 };
    let snapshots = store.facts.snapshots(team.id, SnapshotFilter::default(), page).await.unwrap();
    let snapshots = snapshots.into_iter().map(|(template, build, tag)| {
        json!([template.id, template.name, build.id, build.source_sandbox_id, build.disk_mb, tag])
    });
    let mut resolved = Map::new();
    for name in ["base", "mine", "mine:default", "first/mine", "t0000000000000000002"] {
        let found = store.facts.resolve_template(team.id, name).await.unwrap();
        resolved.insert(name.to_owned(), json!(found.map(|(template, build)| (template.id, build.id))));
    }
    let filter = SandboxFilter { limit: 100, ..listed() };
    let listed = store.facts.sandboxes(team.id, filter).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|sandbox| sandbox.id.to_string()).collect();
    let mut all = Map::new();
    all.insert("limits".to_owned(), json!(team.limits));
    all.insert("keys".to_owned(), json!(keys));
    all.insert("templates".to_owned(), json!(templates));
    all.insert("snapshots".to_owned(), json!(snapshots.collect::<Vec<_>>()));
    all.insert("resolved".to_owned(), Value::Object(resolved));
    all.insert("listed".to_owned(), json!(listed));
    all
}

fn listed() -> SandboxFilter {
    use sandscope_store::ListedState;
    SandboxFilter {
        states: vec![ListedState::Running, ListedState::Paused],
        metadata: Vec::new(),
        started_after: None,
        template: None,
        order: Order::Asc,
        after: None,
        limit: 100,
    }
}

async fn log(store: &Store, team: &Team) -> Value {
    let mut pages = Vec::new();
    let mut position = None;
    loop {
        let order = Order::Asc;
        let query = EventQuery { position, limit: 7, order, ..EventQuery::default() };
        let page = store.events.event_page(team.id, query).await.unwrap();
        let numbers: Vec<u64> = page.events.iter().map(|event| event.sequence).collect();
        pages.push(json!({"numbers": numbers, "position": page.position, "more": page.has_more,
            "lost": page.lost.map(|lost| (*lost.start(), *lost.end())), "last": page.last}));
        position = Some(page.position);
        if !page.has_more {
            break;
        }
    }
    let last = store.events.last_sequence(team.id).await.unwrap();
    let mut events = Vec::new();
    for number in 1..=last {
        let event = store.events.event(team.id, number).await.unwrap();
        events.push(event.as_ref().map(sandscope_wire::event::render));
    }
    let newest =
        store.events.events(team.id, EventQuery { limit: 3, ..EventQuery::default() }).await.unwrap();
    let newest: Vec<_> = newest.iter().map(|event| event.sequence).collect();
    let hour = store.events.sequence_range(team.id, Some(at(0)), Some(at(3_600))).await.unwrap();
    let bounds = store.events.log_bounds(team.id).await.unwrap();
    json!({"pages": pages, "events": events, "newest": newest, "numbers of the hour": hour, "bounds": bounds})
}

async fn webhooks(store: &Store, team: &Team) -> Value {
    let mut all = Vec::new();
    for webhook in store.deliveries.webhooks(team.id).await.unwrap() {
        let id = webhook.id;
        let standing = store.deliveries.webhook_standing(id).await.unwrap().unwrap();
        let health = &standing.health;
        let owed = store.deliveries.owed(id).await.unwrap();
        let owed: Vec<_> = owed.iter().map(|one| json!([one.exception.sequence, sandbox_of(one)])).collect();
        let exceptions = store.deliveries.exceptions(id).await.unwrap();
        let dead = store.deliveries.dead_letters(team.id, id, 0, 100).await.unwrap();
        let dead: Vec<_> = dead.iter().map(|dead| json!([dead.event.sequence, dead.n_attempts])).collect();
        let mut replays = Vec::new();
        for replay in store.deliveries.replays(id).await.unwrap() {
            let page = store.deliveries.replay_page(team.id, replay.clone(), 100).await.unwrap();
            let selected: Vec<_> = page.events.iter().map(|(event, lost)| (event.sequence, *lost)).collect();
            replays.push(json!([replay_json(&replay), selected, page.next]));
        }
        all.push(json!({
            "webhook": webhook_json(&webhook),
            "cursor": store.deliveries.cursor(id).await.unwrap(),
            "counts": [standing.cursor, standing.last_sequence, standing.n_pending, standing.n_exhausted,
                standing.n_skipped],
            "health": {"failing_since": health.failing_since, "n_failed": health.n_failed,
                "told": health.reported.iter().map(|change| change.event_type().as_str()).collect::<Vec<_>>(), "disabled_reason": health.disabled_reason},
            "owed": owed,
            "exceptions": exceptions.iter().map(exception_json).collect::<Vec<_>>(),
            "dead letters": dead,
            "replays": replays,
            "attempts": attempts(store, &webhook).await,
        }));
    }
    json!(all)
}

fn sandbox_of(owed: &Owed) -> Option<&SandboxId> {
    match &owed.subject {
        Some(SubjectKey::Sandbox(id)) => Some(id),
        _ => None,
    }
}

fn webhook_json(webhook: &Webhook) -> Value {
    let headers: Vec<_> = webhook.headers.iter().map(|(name, value)| json!([name, value.expose()])).collect();
    let previous =
        webhook.previous_secret.as_ref().map(|retired| json!([retired.secret.expose(), retired.until]));
    json!({"id": webhook.id, "name": webhook.name, "url": webhook.url, "events": webhook.events.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(),
        "enabled": webhook.enabled, "secret": webhook.signature_secret.expose(), "previous": previous,
        "headers": headers, "options": webhook.options, "created_at": webhook.created_at})
}

fn exception_json(exception: &Exception) -> Value {
    json!([
        exception.sequence,
        exception.n_attempts,
        exception.next_due_at,
        exception.replay_no,
        exception.was_exhausted
    ])
}

fn replay_json(replay: &Replay) -> Value {
    json!({"id": replay.id, "selection": replay.selection, "range": [replay.first, replay.last],
        "next": replay.next, "rate": replay.rate_per_second, "state": replay.state,
        "counts": [replay.n_selected, replay.n_delivered, replay.n_failed, replay.n_dropped],
        "created_at": replay.created_at, "finished_at": replay.finished_at})
}

async fn attempts(store: &Store, webhook: &Webhook) -> Value {
    let query = AttemptQuery {
        cursor: None,
        limit: 100,
        order: Order::Asc,
        start: None,
        end: None,
        success: None,
        types: Vec::new(),
    };
    let mut all = Vec::new();
    for attempt in store.attempts.attempts(webhook.team_id, webhook.id, query).await.unwrap() {
        let again = store.attempts.attempt(webhook.team_id, webhook.id, attempt.id).await.unwrap();
        assert_eq!(again.as_ref(), Some(&attempt));
        let error = attempt.outcome.error().map(|(class, text)| (class.as_str(), text.to_owned()));
        all.push(json!({"id": attempt.id, "event": [attempt.event_id, attempt.sequence, attempt.event_type.as_str()],
            "sandbox": attempt.sandbox_id, "started_at": attempt.started_at, "ms": attempt.duration_ms,
            "ok": attempt.outcome.is_success(), "error": error,
            "request": [attempt.request_url, attempt.request_headers, attempt.request_body],
            "response": [attempt.response_status, attempt.response_headers, attempt.response_body]}));
    }
    let stats =
        store.attempts.attempt_stats(webhook.team_id, webhook.id, at(0), at(3_600), 600).await.unwrap();
    let stats = stats.iter().map(|bucket| json!([bucket.start, bucket.total, bucket.failed, bucket.max]));
    json!({"list": all, "stats": stats.collect::<Vec<_>>()})
}

async fn alerts(store: &Store, team: &Team) -> Value {
    let rules = store.alerts.alert_rules(Some(team.id)).await.unwrap();
    let rules: Vec<_> =
        rules.iter().map(|own| json!([own.id, own.revision, own.created_at, own.rule])).collect();
    let firing = store.alerts.firing_alerts(team.id, 100).await.unwrap();
    let firing = firing.iter().map(|alert| {
        json!({"rule": [alert.key.rule_id, alert.key.rule, alert.rule],
            "subject": alert.key.subject.to_string(), "since": alert.since})
    });
    let firing: Vec<_> = firing.collect();
    json!({"rules": rules, "firing": firing, "cursor": store.alerts.alert_cursor(team.id).await.unwrap()})
}

async fn ledger(store: &Store, team: &Team) -> Value {
    let moment = store.events.ledger_moment(team.id).await.unwrap();
    let open: Vec<_> = moment.open.iter().map(|open| json!([open.sandbox_id, open.execution])).collect();
    let ended = store.events.ended_executions(team.id, at(0), 0, moment.last, 100).await.unwrap();
    let ended: Vec<_> =
        ended.executions.iter().map(|one| json!([one.sandbox_id, summary_json(&one.summary)])).collect();
    let mut present = Map::new();
    for seconds in [5, 60, 250, 650, 5_000] {
        let there = store.events.sandboxes_at(team.id, at(seconds), None, 100).await.unwrap();
        let there = there.sandboxes.iter().map(|one| {
            let number = one.last_event.map(|(number, _, _)| number);
            json!([one.sandbox_id, format!("{:?}", one.presence), one.execution_id, number])
        });
        present.insert(seconds.to_string(), json!(there.collect::<Vec<_>>()));
    }
    let mut activity = Map::new();
    for step_s in [60, 600] {
        let found = store.events.team_activity(team.id, at(0), at(1_200), step_s, 100).await.unwrap();
        let points = found.points.iter().map(|point| (point.at, point.max_concurrent, point.n_created));
        let steps: Vec<_> = points.collect();
        activity.insert(step_s.to_string(), json!({"steps": steps, "peak": found.peak}));
    }
    json!({"last": moment.last, "cut_at": moment.cut_at, "open": open, "ended": ended, "present": present,
        "activity": activity})
}

fn summary_json(execution: &ExecutionSummary) -> Value {
    json!({"started_at": execution.started_at, "vcpu_count": execution.vcpu_count,
        "memory_mb": execution.memory_mb, "execution_time_ms": execution.execution_time_ms})
}

fn sandbox_json(sandbox: &Sandbox) -> Value {
    json!({"team": sandbox.team_id, "spec": sandbox.spec, "state": sandbox.state,
        "intent_origin": sandbox.intent_origin, "generation": sandbox.generation,
        "times": [sandbox.created_at, sandbox.started_at, sandbox.end_at]})
}

async fn of_sandbox(store: &Store, id: &SandboxId) -> Value {
    let row = store.facts.sandbox(id).await.unwrap();
    let team = store.facts.teams().await.unwrap().remove(0);
    let history = store.events.sandbox_history(team.id, id, 100).await.unwrap();
    let history = history.map(|history| {
        let numbers: Vec<_> = history.events.iter().map(|event| event.sequence).collect();
        json!([numbers, history.is_complete])
    });
    let query = LogQuery {
        sandbox_id: id.clone(),
        start: None,
        end: None,
        min_level: sandscope_model::LogLevel::Debug,
        search: None,
        order: Order::Asc,
        limit: 100,
    };
    let logs = store.logs.logs(query).await.unwrap();
    let logs = logs.iter().map(|entry| {
        let (level, source) = (entry.level.as_str(), format!("{:?}", entry.source));
        json!([entry.at, level, source, entry.pid, entry.event_type.map(EventType::as_str), entry.message])
    });
    json!({
        "row": row.as_ref().map(sandbox_json),
        "known": store.events.knows_sandbox(team.id, id).await.unwrap(),
        "history": history,
        "logs": logs.collect::<Vec<_>>(),
        "logs taken up to": store.logs.logs_taken_upto(id).await.unwrap(),
        "samples": samples(store, id).await,
    })
}

async fn samples(store: &Store, id: &SandboxId) -> Value {
    let mut all = Map::new();
    let range: Option<(Timestamp, Timestamp)> = store.samples.sample_range(id).await.unwrap();
    all.insert("range".to_owned(), json!(range));
    if range.is_none() {
        return Value::Object(all);
    }
    for step in [None, Some(30), Some(60), Some(300), Some(900)] {
        for aggregate in [Aggregate::Max, Aggregate::Average] {
            if step.is_none() && aggregate == Aggregate::Average {
                continue;
            }
            let found = store.samples.aggregated_samples(id, None, None, step, aggregate).await.unwrap();
            let name = format!("{aggregate:?} of {}", step.map_or("each".to_owned(), |s| format!("{s} s")));
            all.insert(name, json!(found.iter().map(sample_text).collect::<Vec<_>>()));
        }
    }
    let part = store.samples.samples(id, Some(at(520)), Some(at(1_111)), Some(60)).await.unwrap();
    all.insert("part".to_owned(), json!(part.iter().map(sample_text).collect::<Vec<_>>()));
    let newest = store.samples.newest_samples(id, 3).await.unwrap();
    all.insert("newest".to_owned(), json!(newest.iter().map(sample_text).collect::<Vec<_>>()));
    let latest = store.samples.latest_samples(std::slice::from_ref(id)).await.unwrap();
    all.insert("latest".to_owned(), json!(latest.iter().map(sample_text).collect::<Vec<_>>()));
    Value::Object(all)
}

/// A field that a release added follows as a word of its own, where it has a value: then old answers stay.
fn sample_text(sample: &Sample) -> String {
    let mut text = format!(
        "{} cpu {} of {} mem {} of {} cache {} disk {} of {}",
        sample.at,
        sample.cpu_used_pct(),
        sample.cpu_count(),
        sample.or_zero(MetricField::MemUsed),
        sample.or_zero(MetricField::MemTotal),
        sample.or_zero(MetricField::MemCache),
        sample.or_zero(MetricField::DiskUsed),
        sample.or_zero(MetricField::DiskTotal),
    );
    for (field, number) in sample.values.iter().filter(|(field, _)| field.entry().since != "0.1") {
        let _ = write!(text, " {} {number}", field.entry().name);
    }
    text
}

async fn of_node(store: &Store) -> Value {
    let mut live: Vec<_> =
        store.facts.live_sandboxes().await.unwrap().iter().map(|sandbox| sandbox.id.to_string()).collect();
    live.sort();
    let mut known_keys = Vec::new();
    for n in 1..=4 {
        let found = store.facts.authenticate([n; 32]).await.unwrap();
        known_keys.push(found.map(|known| (known.team.slug, known.key_id.to_string())));
    }
    let mut layers = store.facts.captured_layers().await.unwrap();
    layers.sort();
    let logs = store.logs.logs_after(2, 100).await.unwrap();
    let logs: Vec<_> = logs.iter().map(|one| json!([one.no, one.sandbox_id, one.entry.message])).collect();
    let events = store.logs.begin_event_export(store.events.ends().await.unwrap()).await.unwrap();
    let events: Vec<_> = events.iter().map(|(team, upto)| json!([team, upto])).collect();
    json!({"live": live, "keys": known_keys, "layers": layers, "logs after 2": logs,
        "newest log": store.logs.newest_log().await.unwrap(), "log export": store.logs.begin_log_export().await.unwrap(),
        "event export": events, "replaying": store.deliveries.webhooks_with_replays().await.unwrap()})
}

/// What the blocks of a level say of the fixture's first hour, largest and mean side by side: a line each.
pub(crate) async fn sealed_text(store: &Store, id: &SandboxId, level_s: u32) -> String {
    let step = (level_s > 0).then_some(level_s);
    let (from, to) = (Some(at(0)), Some(at(3_599)));
    let most = store.samples.aggregated_samples(id, from, to, step, Aggregate::Max).await.unwrap();
    let mean = store.samples.aggregated_samples(id, from, to, step, Aggregate::Average).await.unwrap();
    let pairs = most.iter().zip(&mean);
    pairs.map(|(most, mean)| format!("{} | {}\n", sample_text(most), sample_text(mean))).collect()
}
