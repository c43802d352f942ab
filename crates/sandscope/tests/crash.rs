//! `kill -9` of the server in the middle of a hundred creates, pauses, resumes, snapshots and kills, and of agents
//! while it runs and while it does not, over and over: no answered change may be missing from the history, no event may
//! miss its delivery, no sequence number may be missing or repeated, the last event of each sandbox must say what the
//! sandbox is, and after every round `sandscope fsck` must find that store, kernel and event log agree.
//!
//! `cargo xtask crash --rounds 1000` runs many; `--seed` and `--from` replay one. They come in as
//! `SANDSCOPE_CRASH_ROUNDS` (default 12), `SANDSCOPE_CRASH_SEED` (default: drawn, and printed) and
//! `SANDSCOPE_CRASH_FROM` (default 0). A round's choices depend on the seed and its number alone.

#![expect(clippy::expect_used, reason = "a test may stop at anything unexpected")]

mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use sandscope_client::{Client, ClientError, EventQuery, NewSandbox, NewWebhook};
use server::{Receiver, Server, eventually};

/// What answers said to a client: sandbox, and what had happened to it.
type Told = Arc<Mutex<BTreeMap<String, Vec<&'static str>>>>;

/// Enough clients that creates, pauses and kills overlap, few enough for a small machine.
const N_CLIENTS: usize = 8;
/// Lives each client leads per round: with all clients, about a hundred.
const N_LIVES: usize = 13;
/// Rounds after which a new log is begun.
const ROUNDS_PER_LOG: u64 = 50;

/// A small generator of our own, so that a printed seed replays the run's choices.
struct Dice(u64);

impl Dice {
    fn of_round(seed: u64, round: u64) -> Self {
        let mut dice = Self(seed ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // The first draws of neighbouring numbers are neighbours, too.
        for _ in 0..4 {
            dice.below(2);
        }
        dice
    }

    fn below(&mut self, bound: u64) -> u64 {
        // Knuth's MMIX constants; the high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_server_is_killed_at_random_points() -> Result<()> {
    if server::skip_without_root("crash rounds") {
        return Ok(());
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number("SANDSCOPE_CRASH_ROUNDS").unwrap_or(12);
    let seed = number("SANDSCOPE_CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let from = number("SANDSCOPE_CRASH_FROM").unwrap_or(0);
    println!("SANDSCOPE_CRASH_SEED={seed} SANDSCOPE_CRASH_ROUNDS={rounds} SANDSCOPE_CRASH_FROM={from}");
    let started = Instant::now();
    let (mut first, end) = (from, from + rounds);
    let mut sum = Sum::default();
    while first < end {
        // A fresh start now and then keeps the log, which is read after every round, short.
        let next = end.min(first + ROUNDS_PER_LOG);
        sum.add(&one_log(seed, first..next).await?);
        first = next;
        let n_rounds = first - from;
        println!("{n_rounds} rounds in {} s: {sum:?}, 0 disagreements", started.elapsed().as_secs());
    }
    ensure!(sum.answered > 0, "nothing was answered: the rounds have shown nothing");
    Ok(())
}

/// What the rounds have shown.
#[derive(Debug, Default)]
struct Sum {
    answered: usize,
    events: usize,
    deliveries: usize,
    agents_killed: usize,
}

impl Sum {
    fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.events += other.events;
        self.deliveries += other.deliveries;
        self.agents_killed += other.agents_killed;
    }
}

/// Rounds over one data directory, and at their end what only the whole log shows.
async fn one_log(seed: u64, rounds: Range<u64>) -> Result<Sum> {
    let receiver = Receiver::start().await?;
    let mut server = Server::start().await?;
    register(&server.client()?, &receiver).await?;
    let mut sum = Sum::default();
    for round in rounds {
        let done = one_round(&mut server, Dice::of_round(seed, round)).await;
        let done = done.with_context(|| {
            let kept = server.data().join("server.log");
            let log = std::fs::read_to_string(kept).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            format!("replay: cargo xtask crash --seed {seed} --from {round} --rounds 1\nthe server's log ends with:\n{tail}")
        })?;
        sum.add(&done);
    }
    let client = server.client()?;
    let log = whole_log(&client).await?;
    let (owed, sandboxes): (BTreeSet<String>, BTreeSet<String>) = log.into_iter().unzip();
    eventually("every event is delivered", Duration::from_secs(60), || receiver.has_all(&owed)).await?;
    (sum.events, sum.deliveries) = (owed.len(), receiver.deliveries());
    server.stop_softly().await?;
    let left = groups_named(Path::new("/sys/fs/cgroup"), 6, &sandboxes);
    ensure!(left.is_empty(), "control groups of dead sandboxes are left: {left:?}");
    let said = std::fs::read_to_string(server.data().join("server.log"))?;
    let given_up: Vec<&str> = said.lines().filter(|line| line.contains("left behind")).collect();
    ensure!(given_up.is_empty(), "something could not be removed: {given_up:?}");
    server.check_agreement().await?;
    check_sequences(&server).await?;
    Ok(sum)
}

async fn one_round(server: &mut Server, mut dice: Dice) -> Result<Sum> {
    let told: Told = Told::default();
    let clients: Vec<_> = (0..N_CLIENTS)
        .map(|_| tokio::spawn(lead_lives(server.client(), Arc::clone(&told), dice.below(u64::MAX))))
        .collect();
    let (before, after) = (dice.below(600), dice.below(600));
    let (n_before, n_after) = (dice.below(3), dice.below(3));
    // sleep: the moment is random
    tokio::time::sleep(Duration::from_millis(15 + before)).await;
    let mut agents_killed = kill_agents(server, n_before, &mut dice)?;
    // sleep: the moment is random
    tokio::time::sleep(Duration::from_millis(15 + after)).await;
    server.kill_hard().await?;
    for client in clients {
        client.await?;
    }
    agents_killed += kill_agents(server, n_after, &mut dice)?;
    server.start_again().await?;
    let client = server.client()?;
    let answered = check_history(&client, &told).await?;
    server.check_agreement().await?;
    end_all(&client).await?;
    Ok(Sum { answered, agents_killed, ..Sum::default() })
}

/// `kill -9` of up to `n` sandboxes' agents. Returns how many it was.
fn kill_agents(server: &Server, n: u64, dice: &mut Dice) -> Result<usize> {
    let mut pids = Vec::new();
    for entry in std::fs::read_dir(server.data().join("sandboxes"))?.flatten() {
        // Half made ones have no record yet, or half of one.
        let Ok(record) = std::fs::read(entry.path().join("sandbox.json")) else { continue };
        let Ok(record) = serde_json::from_slice::<serde_json::Value>(&record) else { continue };
        let Some(pid) = record["made"]["init"]["pid"].as_i64() else { continue };
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if command.starts_with(b"sandscope-agent") {
            pids.push(nix::unistd::Pid::from_raw(i32::try_from(pid)?));
        }
    }
    let mut n_killed = 0;
    for _ in 0..n {
        if pids.is_empty() {
            break;
        }
        let which = usize::try_from(dice.below(pids.len() as u64))?;
        let killed = nix::sys::signal::kill(pids.swap_remove(which), nix::sys::signal::Signal::SIGKILL);
        n_killed += usize::from(killed.is_ok());
    }
    Ok(n_killed)
}

async fn register(client: &Client, receiver: &Receiver) -> Result<()> {
    let kinds = ["created", "killed", "updated", "paused", "resumed", "checkpointed"];
    let webhook = NewWebhook {
        name: "crash".into(),
        url: receiver.url(),
        enabled: true,
        events: kinds.iter().map(|kind| format!("sandbox.lifecycle.{kind}")).collect(),
        signature_secret: "a secret for the crash rounds, long enough".into(),
    };
    client.create_webhook(&webhook).await?;
    Ok(())
}

/// Creates, pauses and kills until the server is gone or enough is done; notes each answer.
async fn lead_lives(client: Result<Client>, told: Told, seed: u64) {
    let Ok(client) = client else { return };
    let mut dice = Dice(seed);
    for _ in 0..N_LIVES {
        let spec = NewSandbox { template_id: "base".into(), timeout: Some(300), ..NewSandbox::default() };
        let Ok(sandbox) = client.create_sandbox(&spec).await else { return };
        let id = sandbox.sandbox_id;
        let note = |what| told.lock().expect("not poisoned").entry(id.clone()).or_default().push(what);
        note("created");
        if dice.below(8) == 0 {
            if client.snapshot(&id, None).await.is_err() {
                return;
            }
            note("checkpointed");
        }
        if dice.below(3) > 0 {
            if client.pause(&id).await.is_err() {
                return;
            }
            note("paused");
            if dice.below(3) == 0 {
                if client.connect(&id, 300).await.is_err() {
                    return;
                }
                note("resumed");
            }
        }
        if dice.below(3) > 0 {
            if client.kill(&id).await.is_err() {
                return;
            }
            note("killed");
        }
    }
}

/// Everything that answers said to a client is in the history, in order; and the history's last word is what the
/// sandbox is. Returns how many changes that were.
async fn check_history(client: &Client, told: &Told) -> Result<usize> {
    let told = std::mem::take(&mut *told.lock().expect("not poisoned"));
    for (id, answers) in &told {
        let query =
            EventQuery { sandbox_id: Some(id.clone()), limit: 100, ascending: true, ..EventQuery::default() };
        let events = client.events(&query).await.with_context(|| format!("events of {id}"))?;
        let history: Vec<&str> =
            events.iter().map(|event| event.event_type.trim_start_matches("sandbox.lifecycle.")).collect();
        ensure!(history.starts_with(answers), "{id}: answered {answers:?}, the history says {history:?}");
        let state = match client.sandbox(id).await {
            Ok(sandbox) => sandbox.state,
            Err(error) if error.status() == Some(404) => "gone".into(),
            Err(error) => return Err(error.into()),
        };
        let last = match history.last() {
            Some(&"killed") => "gone",
            Some(&"paused") => "paused",
            _ => "running",
        };
        ensure!(state == last, "{id}: it is {state}, the history says {history:?}");
    }
    Ok(told.values().map(Vec::len).sum())
}

async fn end_all(client: &Client) -> Result<()> {
    loop {
        let alive = client.sandboxes("running,paused", 100).await?;
        if alive.is_empty() {
            return Ok(());
        }
        let mut ending = tokio::task::JoinSet::new();
        for sandbox in alive {
            let client = client.clone();
            ending.spawn(async move { client.kill(&sandbox.sandbox_id).await });
            if ending.len() >= N_CLIENTS {
                ended(ending.join_next().await)?;
            }
        }
        while let Some(done) = ending.join_next().await {
            ended(Some(done))?;
        }
    }
}

type Ended = std::result::Result<std::result::Result<(), ClientError>, tokio::task::JoinError>;

fn ended(done: Option<Ended>) -> Result<()> {
    match done.transpose()?.transpose() {
        // An agent that was killed a moment ago took it along.
        Err(error) if error.status() == Some(404) => Ok(()),
        outcome => Ok(outcome.map(drop)?),
    }
}

/// The control groups below `directory` that carry one of `names`, behind the mark of their server.
fn groups_named(directory: &Path, depth: u8, names: &BTreeSet<String>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let is_named = |name: &str| name.rsplit('-').next().is_some_and(|last| names.contains(last));
        if entry.file_name().to_str().is_some_and(is_named) {
            found.push(entry.path());
        } else if depth > 0 {
            found.extend(groups_named(&entry.path(), depth - 1, names));
        }
    }
    found
}

/// The ids of all events of the team and of their sandboxes, oldest first.
async fn whole_log(client: &Client) -> Result<Vec<(String, String)>> {
    let mut ids = Vec::new();
    loop {
        let offset = u32::try_from(ids.len())?;
        let query = EventQuery { offset, limit: 100, ascending: true, ..EventQuery::default() };
        let page = client.events(&query).await?;
        if page.is_empty() {
            return Ok(ids);
        }
        ids.extend(page.into_iter().filter_map(|event| Some((event.id, event.sandbox_id?))));
    }
}

/// Reads the log where it lies: numbered 1, 2, 3 … and no event twice.
async fn check_sequences(server: &Server) -> Result<()> {
    let store = server.open_store()?;
    for team in store.facts.teams().await? {
        let mut next = 1;
        let mut ids = BTreeSet::new();
        loop {
            let page = store.events.events_after(team.id, next - 1, 1_000).await?;
            if page.is_empty() {
                break;
            }
            for event in page {
                ensure!(event.sequence == next, "expected sequence {next}, found {}", event.sequence);
                ensure!(ids.insert(event.id), "event {} is there twice", event.id);
                next += 1;
            }
        }
        ensure!(next > 1, "the log is empty");
    }
    store.close().await;
    Ok(())
}
