//! The deliverer by itself: a store, receivers on loopback, and nothing between them. Receivers have a thread of their
//! own, which does not count where CPU time is reported; the store's threads and the commits of new events do.
//!
//! Everything waits for the disk that temporary files are on: `TMPDIR=/dev/shm` shows what is left without one.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sandscope_client::{NewSandbox, NewWebhook};
use sandscope_model::{
    Clock as _, EventType, EventTypes, Replay, ReplayId, ReplayState, Sandbox, Secret, Selection, Team,
    TeamId, TeamLimits, Webhook, WebhookId, WebhookOptions,
};
use sandscope_outbound::{AllowedTarget, EgressGuard};
use sandscope_store::{Change, Store};
use sandscope_tasks::Tasks;
use sandscope_webhooks::{Webhooks, WebhooksOptions};
use tokio::task::JoinSet;

use super::sink::{Manner, Sink, Sinks};
use super::{Child, Row, fill, processes, quantiles, row};
use sandscope_system::{OsEntropy, SystemClock};

const LIMIT: Duration = Duration::from_secs(120);
const N_SANDBOXES: usize = 128;

/// Every figure of the deliverer, with about `n` deliveries each.
pub(super) async fn measure(n: u32) -> anyhow::Result<Vec<Row>> {
    let n = usize::try_from(n)?;
    let directory = tempfile::Builder::new().prefix("sandscope-bench-").tempdir()?;
    let sinks = Sinks::start()?;
    let mut rows = vec![fsync(directory.path())?];
    for (n_endpoints, n_events, window) in [(1, n, 8), (1, n, 64), (10, n * 3 / 10, 8)] {
        rows.push(backlog(&sinks, n_endpoints, n_events, window).await?);
        rows.push(fsync(directory.path())?);
    }
    rows.push(latency(&sinks, (n / 10).max(20)).await?);
    rows.push(fsync(directory.path())?);
    rows.extend(bad_company(&sinks, n / 10).await?);
    rows.push(restart(&sinks).await?);
    rows.push(replay(&sinks, n).await?);
    rows.push(idle(&sinks, n / 10).await?);
    rows.push(fsync(directory.path())?);
    Ok(rows)
}

/// What the disk takes to make a page durable, as everything here waits for it.
fn fsync(directory: &Path) -> anyhow::Result<Row> {
    let mut file = std::fs::File::create(directory.join("probe"))?;
    let mut durations = Vec::new();
    for _ in 0..100 {
        let began = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        durations.push(began.elapsed());
    }
    Ok(row("4 KiB made durable", quantiles::describe(&mut durations), "the disk alone, 100 times"))
}

/// A store with one team.
struct Bed {
    _directory: tempfile::TempDir,
    store: Store,
    team: TeamId,
    sandboxes: Mutex<Vec<Sandbox>>,
}

impl Bed {
    async fn new() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("sandscope-bench-").tempdir()?;
        let store = Store::open(directory.path(), Arc::new(SystemClock))?;
        let team = Team {
            id: TeamId::generate(&OsEntropy),
            name: "bench".to_owned(),
            slug: "bench".to_owned(),
            limits: TeamLimits::default(),
            created_at: SystemClock.now(),
        };
        let id = team.id;
        store.facts.create_team(team).await?;
        let mut sandboxes = Vec::new();
        for _ in 0..N_SANDBOXES {
            let sandbox = fill::ended(id);
            store.facts.admit_sandbox(&sandbox, u32::MAX, None).await?;
            sandboxes.push(sandbox);
        }
        Ok(Self { _directory: directory, store, team: id, sandboxes: Mutex::new(sandboxes) })
    }

    async fn webhook(&self, sink: &Sink, window: u32) -> anyhow::Result<WebhookId> {
        let webhook = Webhook {
            id: WebhookId::generate(&OsEntropy),
            team_id: self.team,
            name: "bench".to_owned(),
            url: sink.url().to_owned(),
            events: EventTypes::from([EventType::Updated]),
            enabled: true,
            signature_secret: Secret::new("0123456789abcdef0123456789abcdef".to_owned()),
            previous_secret: None,
            headers: BTreeMap::new(),
            options: WebhookOptions { max_in_flight: Some(window), ..WebhookOptions::default() },
            created_at: SystemClock.now(),
        };
        let id = webhook.id;
        anyhow::ensure!(self.store.deliveries.insert_webhook(webhook, u32::MAX).await?, "too many webhooks");
        Ok(id)
    }

    fn start(&self) -> Webhooks {
        let guard = EgressGuard::new(AllowedTarget::loopback());
        let clock = Arc::new(SystemClock);
        let tasks = Tasks::new(SystemClock);
        Webhooks::start(WebhooksOptions::new(&self.store, clock, Arc::new(OsEntropy), guard, tasks))
    }

    /// Commits an event of the `n`-th sandbox; its id and when it was durable.
    async fn happens(&self, n: usize) -> anyhow::Result<(String, Instant)> {
        let sandbox = {
            let mut sandboxes = self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner);
            let sandbox = sandboxes[n % N_SANDBOXES].clone();
            sandboxes[n % N_SANDBOXES].generation += 1;
            sandbox
        };
        let event = fill::event(&sandbox);
        let id = event.id.to_string();
        self.store.facts.commit(Change { sandbox, event: Some(event), snapshot: None }).await?;
        Ok((id, Instant::now()))
    }

    /// Commits `n` events, as many at once as there are sandboxes.
    async fn happen(self: &Arc<Self>, n: usize) -> anyhow::Result<()> {
        let mut writers = JoinSet::new();
        for sandbox in 0..N_SANDBOXES {
            let bed = Arc::clone(self);
            let each = n / N_SANDBOXES + usize::from(sandbox < n % N_SANDBOXES);
            writers.spawn(async move {
                for _ in 0..each {
                    bed.happens(sandbox).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(written) = writers.join_next().await {
            written??;
        }
        Ok(())
    }
}

/// CPU time the sender has used.
fn cpu(sinks: &Sinks) -> Duration {
    processes::cpu_time(std::process::id()).unwrap_or_default().saturating_sub(sinks.cpu())
}

/// `count` per CPU-second, and what each took.
fn per_cpu(count: usize, used: Duration) -> String {
    // A tick is ten milliseconds.
    let used = used.as_secs_f64().max(0.01);
    format!("{:.0} per CPU-second, {:.0} µs of CPU each", count as f64 / used, used * 1e6 / count as f64)
}

/// `n_events` that wait when the deliverer starts, to each of `n_endpoints`.
async fn backlog(sinks: &Sinks, n_endpoints: usize, n_events: usize, window: u32) -> anyhow::Result<Row> {
    let bed = Arc::new(Bed::new().await?);
    let mut receivers = Vec::new();
    for _ in 0..n_endpoints {
        let sink = sinks.open(Manner::Prompt, false).await?;
        bed.webhook(&sink, window).await?;
        receivers.push(sink);
    }
    bed.happen(n_events).await?;
    let (began, used) = (Instant::now(), cpu(sinks));
    let webhooks = bed.start();
    let first = receivers[0].wait_after(began, LIMIT).await?;
    for sink in &receivers {
        sink.wait_for(n_events, LIMIT).await?;
    }
    let (took, used) = (began.elapsed(), cpu(sinks).saturating_sub(used));
    webhooks.drain(LIMIT).await;
    bed.store.close().await;
    let count = n_endpoints * n_events;
    let rate = count as f64 / took.as_secs_f64();
    Ok(row(
        format!("deliveries to {n_endpoints} endpoints, {window} in flight each"),
        format!("{rate:.0} /s, {}", per_cpu(count, used)),
        format!("{n_events} events waited; the first arrived {} after the start", quantiles::ms(first)),
    ))
}

/// From the commit to the arrival, at 200 events per second.
async fn latency(sinks: &Sinks, n: usize) -> anyhow::Result<Row> {
    let bed = Arc::new(Bed::new().await?);
    let sink = sinks.open(Manner::Prompt, true).await?;
    bed.webhook(&sink, 8).await?;
    let webhooks = bed.start();
    let mut durations = paced(&bed, std::slice::from_ref(&sink), 200, n).await?;
    webhooks.drain(LIMIT).await;
    bed.store.close().await;
    let remark = format!("200 events per second, {n} of them; from the commit");
    Ok(row("commit to arrival, loopback", quantiles::describe(&mut durations), remark))
}

/// Commits `n` events at `rate` per second; how long each took to each sink.
async fn paced(bed: &Arc<Bed>, sinks: &[Sink], rate: u32, n: usize) -> anyhow::Result<Vec<Duration>> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    let mut commits = JoinSet::new();
    for event in 0..n {
        ticks.tick().await;
        let bed = Arc::clone(bed);
        commits.spawn(async move { bed.happens(event).await });
    }
    let mut committed: HashMap<String, Instant> = HashMap::new();
    while let Some(commit) = commits.join_next().await {
        committed.extend([commit??]);
    }
    let mut durations = Vec::new();
    for sink in sinks {
        sink.wait_for(n, LIMIT).await?;
        let arrived = sink.times();
        let took =
            committed.iter().filter_map(|(id, at)| Some(arrived.get(id)?.saturating_duration_since(*at)));
        durations.extend(took);
    }
    Ok(durations)
}

/// What healthy endpoints notice of black holes and slow ones beside them: of `n`, five in a hundred never answer and
/// ten take two seconds.
async fn bad_company(sinks: &Sinks, n: usize) -> anyhow::Result<Vec<Row>> {
    let (n_dead, n_slow) = ((n / 20).max(1), (n / 10).max(1));
    let n_healthy = n - n_dead - n_slow;
    let mut rows = Vec::new();
    for (n_dead, n_slow) in [(0, 0), (n_dead, n_slow)] {
        let bed = Arc::new(Bed::new().await?);
        let (mut healthy, mut others) = (Vec::new(), Vec::new());
        for _ in 0..n_healthy {
            let sink = sinks.open(Manner::Prompt, true).await?;
            bed.webhook(&sink, 8).await?;
            healthy.push(sink);
        }
        for nth in 0..n_dead + n_slow {
            let manner = if nth < n_dead { Manner::Never } else { Manner::After(Duration::from_secs(2)) };
            let sink = sinks.open(manner, false).await?;
            bed.webhook(&sink, 8).await?;
            others.push(sink);
        }
        let webhooks = bed.start();
        let mut durations = paced(&bed, &healthy, 2, 20).await?;
        webhooks.drain(Duration::ZERO).await;
        bed.store.close().await;
        rows.push(row(
            format!("{n_healthy} healthy endpoints beside {n_dead} black holes and {n_slow} that take 2 s"),
            quantiles::describe(&mut durations),
            "2 events per second, each to all; from the commit",
        ));
    }
    Ok(rows)
}

/// From the start of the real server after a `kill -9` to the first delivery of what was pending.
async fn restart(sinks: &Sinks) -> anyhow::Result<Row> {
    const N_KILLS: usize = 10;
    let mut server = Child::start().await?;
    // So slow that something is pending whenever the server is killed.
    let sink = sinks.open(Manner::After(Duration::from_secs(1)), false).await?;
    let webhook = NewWebhook {
        name: "bench".to_owned(),
        url: sink.url().to_owned(),
        events: vec![EventType::Updated.as_str().to_owned()],
        enabled: true,
        signature_secret: "0123456789abcdef0123456789abcdef".to_owned(),
    };
    server.client().create_webhook(&webhook).await?;
    let wanted = NewSandbox { template_id: "base".to_owned(), ..NewSandbox::default() };
    let sandbox = server.client().create_sandbox(&wanted).await?;
    let mut durations = Vec::new();
    for _ in 0..N_KILLS {
        let before = Instant::now();
        for _ in 0..5 {
            server.client().set_timeout(&sandbox.sandbox_id, 300).await?;
        }
        sink.wait_after(before, LIMIT).await?;
        let began = server.kill_and_start().await?;
        durations.push(sink.wait_after(began, LIMIT).await?);
    }
    server.stop().await?;
    let remark = format!("the real server, {N_KILLS} times kill -9; from the start of the process");
    Ok(row("restart to first delivery", quantiles::describe(&mut durations), remark))
}

async fn replay(sinks: &Sinks, n: usize) -> anyhow::Result<Row> {
    let bed = Arc::new(Bed::new().await?);
    bed.happen(n).await?;
    let sink = sinks.open(Manner::Prompt, true).await?;
    let webhook_id = bed.webhook(&sink, 64).await?;
    let replay = Replay {
        id: ReplayId::generate(&OsEntropy),
        webhook_id,
        selection: Selection::All,
        first: 1,
        last: n as u64,
        next: 1,
        rate_per_second: None,
        state: ReplayState::Running,
        n_selected: 0,
        n_delivered: 0,
        n_failed: 0,
        n_dropped: 0,
        created_at: SystemClock.now(),
        finished_at: None,
    };
    let webhooks = bed.start();
    let (began, used) = (Instant::now(), cpu(sinks));
    bed.store.deliveries.insert_replay(replay, 1).await?;
    sink.wait_for(n, LIMIT).await?;
    let (rate, used) = (n as f64 / began.elapsed().as_secs_f64(), cpu(sinks).saturating_sub(used));
    webhooks.drain(LIMIT).await;
    bed.store.close().await;
    let (n_taken, n_different) = (sink.n_taken(), sink.times().len());
    let remark = format!("64 in flight; {n_taken} arrived, {n_different} different");
    Ok(row(format!("replay of {n} events"), format!("{rate:.0} /s, {}", per_cpu(n, used)), remark))
}

async fn idle(sinks: &Sinks, n: usize) -> anyhow::Result<Row> {
    const SPAN: Duration = Duration::from_secs(30);
    let bed = Arc::new(Bed::new().await?);
    let sink = sinks.open(Manner::Prompt, false).await?;
    for _ in 0..n {
        bed.webhook(&sink, 8).await?;
    }
    let webhooks = bed.start();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let used = cpu(sinks);
    tokio::time::sleep(SPAN).await;
    let percent = cpu(sinks).saturating_sub(used).as_secs_f64() / SPAN.as_secs_f64() * 100.0;
    webhooks.drain(LIMIT).await;
    bed.store.close().await;
    Ok(row(format!("{n} idle webhooks"), format!("{percent:.2} % of a core"), "over 30 s"))
}
