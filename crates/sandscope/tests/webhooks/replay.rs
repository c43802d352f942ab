//! Everything in a long log sent again: nothing skipped, nothing doubled, and a `kill -9` in the middle repeats no more
//! than was on its way.
//!
//! `cargo xtask replay --events 100000` makes it long; the number comes in as `SANDSCOPE_REPLAY_EVENTS` (default
//! 3,000).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use sandscope_client::Client;
use serde_json::{Value, json};

use crate::dice::number;
use crate::fill::fill;
use crate::judge::{Logged, Order, Promise, Shown};
use crate::load::read_log;
use crate::receiver::{Answer, Receiver};
use crate::server::{self, Server};

/// Attempts in flight at once: what one kill may repeat.
const WINDOW: usize = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_skips_nothing_and_doubles_nothing_also_over_a_kill() -> Result<()> {
    if server::skip_without_root("replays") {
        return Ok(());
    }
    let n = usize::try_from(number("SANDSCOPE_REPLAY_EVENTS").unwrap_or(3_000))?;
    // At a hundred per second; nothing has been seen to be nearly that slow.
    let patience = Duration::from_secs(60 + n as u64 / 100);
    let mut server = Server::start().await?;
    server.stop_softly().await?;
    fill(&server, n).await?;
    let log = read_log(&server).await?;
    ensure!(log.len() == n, "{} events", log.len());
    server.start_again().await?;

    let whole = Receiver::start(|_| Answer::Ok).await?;
    let client = server.client()?;
    let id = register(&client, "whole", &whole).await?;
    let began = Instant::now();
    let replay = client.start_replay(&id, &json!({ "select": "all" })).await?;
    whole.wait("everything was sent again", patience, |taken, _| taken.len() == n).await?;
    let took = began.elapsed();
    let done = finished(&client, &id, &replay, patience).await?;
    check_counts(&done, n)?;
    let shown = judge(&log, &whole, 0).context("without a kill")?;
    ensure!(shown == Shown { events: n, requests: n, repeated: 0, repeated_by_one: 0 }, "{shown:?}");
    println!("{n} events, {:.0} per second: 0 skipped, 0 doubled", n as f64 / took.as_secs_f64());

    let killed = Receiver::start(|_| Answer::Ok).await?;
    let id = register(&client, "killed", &killed).await?;
    let began = Instant::now();
    let replay = client.start_replay(&id, &json!({ "select": "all" })).await?;
    killed.wait("half of it was sent", patience, |taken, _| taken.len() >= n / 2).await?;
    server.kill_hard().await?;
    for receiver in [&whole, &killed] {
        receiver.server_is_dead().await?;
    }
    let before = killed.n_arrivals();
    ensure!(before < n, "it was over before the kill");
    let restarting = Instant::now();
    server.start_again().await?;
    killed.wait("it goes on", patience, |_, requests| requests > before).await?;
    let back = restarting.elapsed();
    killed.wait("everything was sent again", patience, |taken, _| taken.len() == n).await?;
    let took = began.elapsed();
    let done = finished(&server.client()?, &id, &replay, patience).await?;
    check_counts(&done, n)?;
    let Shown { repeated, .. } = judge(&log, &killed, WINDOW).context("over a kill")?;
    println!(
        "{n} events over a kill -9 after {before}, {:.0} per second, {back:.0?} from the start to the first: 0 skipped, \
         {repeated} of {WINDOW} in flight repeated",
        n as f64 / took.as_secs_f64()
    );
    // The other webhook's replay was over: its receiver got no more.
    ensure!(whole.n_arrivals() == n, "{} requests", whole.n_arrivals());
    server.stop_softly().await
}

async fn register(client: &Client, name: &str, receiver: &Receiver) -> Result<String> {
    let webhook = json!({
        "name": name, "url": receiver.url(), "events": ["sandbox.lifecycle.updated"], "signatureSecret": "of replays",
        "maxInFlight": WINDOW,
    });
    let webhook = client.register_webhook(&webhook).await?;
    Ok(webhook["id"].as_str().context("no id")?.to_owned())
}

/// The replay once it is over.
async fn finished(client: &Client, id: &str, replay: &Value, patience: Duration) -> Result<Value> {
    let replay_id = replay["id"].as_str().context("no id")?;
    let asking = async {
        loop {
            let replay = client.replay(id, replay_id).await?;
            if replay["state"] != "running" {
                return anyhow::Ok(replay);
            }
            // sleep: the pause between two looks
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(patience, asking).await.context("the replay does not end")?
}

fn check_counts(replay: &Value, n: usize) -> Result<()> {
    for (key, expected) in [("total", n), ("lookedAt", n), ("selected", n), ("delivered", n), ("failed", 0)] {
        ensure!(replay[key] == expected, "{key}: {replay}");
    }
    ensure!(replay["state"] == "done" && replay["dropped"] == 0, "{replay}");
    Ok(())
}

/// What a replay sends is in no order with anything else, and in the log's order by itself only per sandbox.
fn judge(log: &BTreeMap<u64, Logged>, receiver: &Receiver, window: usize) -> Result<Shown> {
    Promise { order: Order::None, window }.judge(log, &receiver.arrivals()?)
}
