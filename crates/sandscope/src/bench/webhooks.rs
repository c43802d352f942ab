//! The deliverer by itself: a store, receivers on loopback, and nothing between them. Sender and receivers share this
//! process, so that what is said per CPU-second counts both.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sandscope_model::{
    Clock as _, EventType, Replay, ReplayId, ReplayState, Sandbox, Secret, Selection, Team, TeamId,
    TeamLimits, Webhook, WebhookId, WebhookOptions,
};
use sandscope_store::{Change, Store};
use sandscope_webhooks::{AllowedTarget, EgressGuard, Webhooks, WebhooksOptions};
use tokio::task::JoinSet;

use super::sink::{Manner, Sink};
use super::{Row, history, processes, quantiles, row};
use crate::system::{OsEntropy, SystemClock};

const LIMIT: Duration = Duration::from_secs(120);
const N_SANDBOXES: usize = 128;

/// Every figure of the deliverer.
pub(super) async fn measure() -> anyhow::Result<Vec<Row>> {
    let directory = tempfile::Builder::new().prefix("sandscope-bench-").tempdir()?;
    let mut rows = vec![fsync(directory.path())?];
    for (n_endpoints, n_events, window) in [(1, 10_000, 8), (1, 10_000, 64), (10, 3_000, 8)] {
        rows.push(backlog(n_endpoints, n_events, window).await?);
    }
    rows.push(latency().await?);
    rows.extend(bad_company().await?);
    rows.extend(replay().await?);
    rows.push(idle().await?);
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
        store.create_team(team).await?;
        let mut sandboxes = Vec::new();
        for _ in 0..N_SANDBOXES {
            let sandbox = history::ended(id);
            store.admit_sandbox(&sandbox, u32::MAX, None).await?;
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
            events: BTreeSet::from([EventType::Updated]),
            enabled: true,
            signature_secret: Secret::new("0123456789abcdef0123456789abcdef".to_owned()),
            previous_secret: None,
            headers: BTreeMap::new(),
            options: WebhookOptions { max_in_flight: Some(window), ..WebhookOptions::default() },
            created_at: SystemClock.now(),
        };
        let id = webhook.id;
        anyhow::ensure!(self.store.insert_webhook(webhook, u32::MAX).await?, "too many webhooks");
        Ok(id)
    }

    fn start(&self) -> Webhooks {
        let guard = EgressGuard::new(AllowedTarget::loopback());
        let clock = Arc::new(SystemClock);
        Webhooks::start(WebhooksOptions::new(self.store.clone(), clock, Arc::new(OsEntropy), guard))
    }

    /// Commits an event of the `n`-th sandbox; its id and when it was durable.
    async fn happens(&self, n: usize) -> anyhow::Result<(String, Instant)> {
        let sandbox = {
            let mut sandboxes = self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner);
            let sandbox = sandboxes[n % N_SANDBOXES].clone();
            sandboxes[n % N_SANDBOXES].generation += 1;
            sandbox
        };
        let event = history::event(&sandbox);
        let id = event.id.to_string();
        self.store.commit(Change { sandbox, event: Some(event), snapshot: None }).await?;
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

fn cpu() -> Duration {
    processes::cpu_time(std::process::id()).unwrap_or_default()
}

/// `n_events` that wait when the deliverer starts, to each of `n_endpoints`.
async fn backlog(n_endpoints: usize, n_events: usize, window: u32) -> anyhow::Result<Row> {
    let bed = Arc::new(Bed::new().await?);
    let mut sinks = Vec::new();
    for _ in 0..n_endpoints {
        let sink = Sink::start(Manner::Prompt, false).await?;
        bed.webhook(&sink, window).await?;
        sinks.push(sink);
    }
    bed.happen(n_events).await?;
    let (began, used) = (Instant::now(), cpu());
    let webhooks = bed.start();
    let first = async {
        sinks[0].wait_for(1, LIMIT).await?;
        anyhow::Ok(began.elapsed())
    };
    let all = async {
        for sink in &sinks {
            sink.wait_for(n_events, LIMIT).await?;
        }
        anyhow::Ok(began.elapsed())
    };
    let (first, all) = tokio::try_join!(first, all)?;
    let per_cpu = (n_endpoints * n_events) as f64 / (cpu() - used).as_secs_f64();
    webhooks.drain(LIMIT).await;
    bed.store.close().await;
    let rate = (n_endpoints * n_events) as f64 / all.as_secs_f64();
    Ok(row(
        format!("deliveries to {n_endpoints} endpoints, {window} in flight each"),
        format!("{rate:.0} /s, {per_cpu:.0} per CPU-second"),
        format!(
            "{n_events} events waited; the first arrived {:.0} ms after the start",
            first.as_secs_f64() * 1e3
        ),
    ))
}

/// From the commit to the arrival, at 200 events per second.
async fn latency() -> anyhow::Result<Row> {
    let bed = Arc::new(Bed::new().await?);
    let sink = Sink::start(Manner::Prompt, true).await?;
    bed.webhook(&sink, 8).await?;
    let webhooks = bed.start();
    let mut durations = paced(&bed, std::slice::from_ref(&sink), 200, 1_000).await?;
    webhooks.drain(LIMIT).await;
    bed.store.close().await;
    let remark = "200 events per second, 1,000 of them; from the commit";
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

/// What healthy endpoints notice of black holes and slow ones beside them.
async fn bad_company() -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (n_dead, n_slow) in [(0, 0), (50, 100)] {
        let bed = Arc::new(Bed::new().await?);
        let (mut healthy, mut others) = (Vec::new(), Vec::new());
        for _ in 0..850 {
            let sink = Sink::start(Manner::Prompt, true).await?;
            bed.webhook(&sink, 8).await?;
            healthy.push(sink);
        }
        for n in 0..n_dead + n_slow {
            let manner = if n < n_dead { Manner::Never } else { Manner::After(Duration::from_secs(2)) };
            let sink = Sink::start(manner, false).await?;
            bed.webhook(&sink, 8).await?;
            others.push(sink);
        }
        let webhooks = bed.start();
        let mut durations = paced(&bed, &healthy, 2, 20).await?;
        webhooks.drain(Duration::ZERO).await;
        bed.store.close().await;
        rows.push(row(
            format!("850 healthy endpoints beside {n_dead} black holes and {n_slow} that take 2 s"),
            quantiles::describe(&mut durations),
            "2 events per second, each to all; from the commit",
        ));
    }
    Ok(rows)
}

async fn replay() -> anyhow::Result<Vec<Row>> {
    const N: usize = 10_000;
    let bed = Arc::new(Bed::new().await?);
    bed.happen(N).await?;
    let sink = Sink::start(Manner::Prompt, true).await?;
    let webhook_id = bed.webhook(&sink, 64).await?;
    let replay = Replay {
        id: ReplayId::generate(&OsEntropy),
        webhook_id,
        selection: Selection::All,
        first: 1,
        last: N as u64,
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
    let began = Instant::now();
    bed.store.insert_replay(replay, 1).await?;
    sink.wait_for(N, LIMIT).await?;
    let rate = N as f64 / began.elapsed().as_secs_f64();
    webhooks.drain(LIMIT).await;
    bed.store.close().await;
    let (n_taken, n_different) = (sink.n_taken(), sink.times().len());
    let remark = format!("64 in flight; {n_taken} arrived, {n_different} different");
    Ok(vec![row(format!("replay of {N} events"), format!("{rate:.0} /s"), remark)])
}

async fn idle() -> anyhow::Result<Row> {
    const SPAN: Duration = Duration::from_secs(30);
    let bed = Arc::new(Bed::new().await?);
    let sink = Sink::start(Manner::Prompt, false).await?;
    for _ in 0..1_000 {
        bed.webhook(&sink, 8).await?;
    }
    let webhooks = bed.start();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let used = cpu();
    tokio::time::sleep(SPAN).await;
    let percent = (cpu() - used).as_secs_f64() / SPAN.as_secs_f64() * 100.0;
    webhooks.drain(LIMIT).await;
    bed.store.close().await;
    Ok(row("1,000 idle webhooks", format!("{percent:.2} % of a core"), "over 30 s"))
}
