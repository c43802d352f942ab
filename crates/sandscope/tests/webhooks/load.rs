//! Things that happen to sandboxes at a steady rate, until the server is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use sandscope_client::{Client, NewSandbox};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::judge::Logged;
use crate::server::Server;

/// Changes per second.
pub(crate) const RATE: u32 = 200;
/// Requests under way at once.
const MAX_UNDER_WAY: usize = 64;

/// Sandboxes that stay, and what answers said of them.
pub(crate) struct Load {
    pub(crate) sandboxes: Vec<String>,
    /// Answered changes, by sandbox.
    answered: Arc<Vec<AtomicUsize>>,
    /// How long there was load.
    spent: Duration,
    running: Option<(Instant, Arc<AtomicBool>, Vec<JoinHandle<()>>)>,
}

impl Load {
    /// Makes `n` sandboxes, each with its number as the label `lane`.
    pub(crate) async fn new(client: &Client, n: usize) -> Result<Self> {
        let mut sandboxes = Vec::new();
        for lane in 0..n {
            let metadata = BTreeMap::from([("lane".to_owned(), lane.to_string())]);
            let base = "base".to_owned();
            let wanted =
                NewSandbox { template_id: base, timeout: Some(3_600), metadata, ..NewSandbox::default() };
            sandboxes.push(client.create_sandbox(&wanted).await?.sandbox_id);
        }
        let answered = (0..n).map(|_| AtomicUsize::new(0)).collect();
        Ok(Self { sandboxes, answered: Arc::new(answered), spent: Duration::ZERO, running: None })
    }

    /// Begins: changes of the sandboxes at [`RATE`], and beside them whole short lives.
    pub(crate) fn begin(&mut self, client: &Client) {
        let over = Arc::new(AtomicBool::new(false));
        let (sandboxes, answered) = (self.sandboxes.clone(), Arc::clone(&self.answered));
        let changes = tokio::spawn(change(client.clone(), sandboxes, answered, Arc::clone(&over)));
        let lives = tokio::spawn(lead_lives(client.clone(), Arc::clone(&over)));
        self.running = Some((Instant::now(), over, vec![changes, lives]));
    }

    /// Waits until `n` more changes are answered, or for `limit`.
    pub(crate) async fn wait_for(&self, n: usize, limit: Duration) {
        let wanted = self.n_answered() + n;
        let deadline = Instant::now() + limit;
        while self.n_answered() < wanted && Instant::now() < deadline {
            // sleep: the pause between two looks
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Ends it, once what is under way is answered, or refused because the server is gone: what nobody waits for could
    /// make a sandbox after all have been ended.
    pub(crate) async fn end(&mut self) -> Result<()> {
        let (began, over, tasks) = self.running.take().context("there is no load")?;
        self.spent += began.elapsed();
        over.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.context("the load broke")?;
        }
        Ok(())
    }

    /// One change, which must be answered.
    pub(crate) async fn change_one(&self, client: &Client) -> Result<()> {
        client.set_timeout(&self.sandboxes[0], 3_600).await?;
        self.answered[0].fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn n_answered(&self) -> usize {
        self.answered.iter().map(|n| n.load(Ordering::Relaxed)).sum()
    }

    /// Answered changes per second of load.
    pub(crate) fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.n_answered()).unwrap_or(u32::MAX)) / self.spent.as_secs_f64()
    }

    /// Every change that was answered must be in the log.
    pub(crate) fn check(&self, log: &BTreeMap<u64, Logged>) -> Result<()> {
        for (id, answered) in self.sandboxes.iter().zip(&*self.answered) {
            let answered = answered.load(Ordering::Relaxed);
            let is_change =
                |logged: &&Logged| logged.sandbox_id == *id && logged.event_type.ends_with("updated");
            let n_logged = log.values().filter(is_change).count();
            ensure!(
                answered <= n_logged,
                "{id}: {answered} changes were answered, {n_logged} are in the log"
            );
        }
        Ok(())
    }
}

async fn change(
    client: Client,
    sandboxes: Vec<String>,
    answered: Arc<Vec<AtomicUsize>>,
    over: Arc<AtomicBool>,
) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE);
    // What a busy machine misses is made up for, or the rate would not be what it is called.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut under_way = JoinSet::new();
    for n in (0..sandboxes.len()).cycle() {
        ticks.tick().await;
        if over.load(Ordering::Relaxed) {
            break;
        }
        while under_way.len() >= MAX_UNDER_WAY {
            if matches!(under_way.join_next().await, Some(Ok(false) | Err(_))) {
                return;
            }
        }
        let (client, id, answered) = (client.clone(), sandboxes[n].clone(), Arc::clone(&answered));
        under_way.spawn(async move {
            let is_done = client.set_timeout(&id, 3_600).await.is_ok();
            answered[n].fetch_add(usize::from(is_done), Ordering::Relaxed);
            is_done
        });
    }
    under_way.join_all().await;
}

/// Created, paused, resumed, killed, over and over.
async fn lead_lives(client: Client, over: Arc<AtomicBool>) {
    let wanted = NewSandbox { template_id: "base".into(), timeout: Some(300), ..NewSandbox::default() };
    while let Ok(sandbox) = client.create_sandbox(&wanted).await {
        let id = &sandbox.sandbox_id;
        let done = async {
            client.pause(id).await?;
            client.connect(id, 300).await?;
            client.kill(id).await
        };
        if done.await.is_err() {
            return;
        }
        if over.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// The team's log as it lies on the disk, numbered without a gap.
pub(crate) async fn read_log(server: &Server) -> Result<BTreeMap<u64, Logged>> {
    let store = server.open_store()?;
    let mut log = BTreeMap::new();
    let teams = store.facts.teams().await?;
    let [team] = teams.as_slice() else { anyhow::bail!("{} teams", teams.len()) };
    loop {
        let after = log.len() as u64;
        let page = store.events.events_after(team.id, after, 1_000).await?;
        if page.is_empty() {
            break;
        }
        for event in page {
            ensure!(event.sequence == log.len() as u64 + 1, "after {} came {}", log.len(), event.sequence);
            let logged = Logged {
                event_id: event.id.to_string(),
                sandbox_id: event.sandbox_id().map(ToString::to_string).unwrap_or_default(),
                event_type: event.event_type().to_string(),
            };
            log.insert(event.sequence, logged);
        }
    }
    store.close().await;
    Ok(log)
}
