//! `kill -9` of the server at random points, with 200 events per second on their way to several webhooks.
//!
//! `cargo xtask crash --webhooks --rounds 200` runs many; `--seed` and `--from` replay what one log's rounds chose.
//! They come in as `SANDSCOPE_WEBHOOK_CRASH_ROUNDS` (default 4), `_SEED` (default: drawn, and printed) and `_FROM`.
//! A round's choices depend on the seed and its number alone. What a round lost shows when its log is complete, which
//! is every fifty rounds; so is the line that says how to replay.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use sandscope_client::Client;
use serde_json::{Value, json};

use crate::dice::{Dice, number};
use crate::judge::{Logged, Order, Promise, Shown};
use crate::load::{Load, RATE, read_log};
use crate::receiver::{Answer, Receiver};
use crate::server::{self, Server};

/// Rounds after which a new log is begun.
const ROUNDS_PER_LOG: u64 = 50;
/// Sandboxes that stay.
const N_SANDBOXES: usize = 16;
/// How long everything pending may take once the load is over.
const PATIENCE: Duration = Duration::from_secs(120);
/// Events of sandboxes' lives other than changed timeouts.
const LIVES: [&str; 4] = ["created", "paused", "resumed", "killed"];

/// A registered webhook, what is due to it and what is promised of it.
struct Hook {
    name: &'static str,
    receiver: Receiver,
    promise: Promise,
    is_owed: fn(&Logged, &[String]) -> bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_lost_and_only_a_window_is_repeated_when_the_server_is_killed() -> Result<()> {
    if server::skip_without_root("crash rounds with webhooks") {
        return Ok(());
    }
    let rounds = number("SANDSCOPE_WEBHOOK_CRASH_ROUNDS").unwrap_or(4);
    let seed = number("SANDSCOPE_WEBHOOK_CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let from = number("SANDSCOPE_WEBHOOK_CRASH_FROM").unwrap_or(0);
    let (mut first, end) = (from, from + rounds);
    while first < end {
        let next = end.min(first + ROUNDS_PER_LOG);
        one_log(seed, first..next).await.with_context(|| {
            format!(
                "replay: cargo xtask crash --webhooks --seed {seed} --from {first} --rounds {}",
                next - first
            )
        })?;
        first = next;
    }
    Ok(())
}

/// Rounds over one data directory, and the judgement of everything that arrived meanwhile.
async fn one_log(seed: u64, rounds: Range<u64>) -> Result<()> {
    let mut server = Server::start().await?;
    let hooks = register(&server.client()?, seed ^ rounds.start).await?;
    let mut load = Load::new(&server.client()?, N_SANDBOXES).await?;
    let mut restarts = Vec::new();
    for round in rounds.clone() {
        let mut dice = Dice::of(seed, round);
        load.begin(&server.client()?);
        // Up to a second's worth, however long a busy machine takes for it.
        load.wait_for(usize::try_from(dice.below(RATE.into()))?, Duration::from_secs(10)).await;
        // sleep: the moment is random
        tokio::time::sleep(Duration::from_millis(dice.below(50))).await;
        server.kill_hard().await?;
        load.end().await?;
        for hook in &hooks {
            hook.receiver.server_is_dead().await?;
        }
        // sleep: how long nothing runs is random
        tokio::time::sleep(Duration::from_millis(dice.below(200))).await;
        let began = Instant::now();
        let before = hooks[0].receiver.n_arrivals();
        server.start_again().await?;
        // Now and then the next kill falls into the first moments, when what was pending is sent again.
        if dice.below(4) > 0 {
            load.change_one(&server.client()?).await.with_context(|| format!("round {round}"))?;
            hooks[0].receiver.wait("a delivery after the restart", PATIENCE, |_, n| n > before).await?;
            restarts.push(began.elapsed());
        }
    }
    // Some changes without a kill, and then everything pending.
    load.begin(&server.client()?);
    load.wait_for(usize::try_from(RATE / 2)?, Duration::from_secs(10)).await;
    load.end().await?;
    let shown = conclude(&mut server, &hooks, &load).await?;
    report(&rounds, &load, &shown, restarts);
    Ok(())
}

/// Ends every sandbox, waits for everything pending, stops the server and judges.
async fn conclude(server: &mut Server, hooks: &[Hook], load: &Load) -> Result<Vec<(&'static str, Shown)>> {
    let client = server.client()?;
    for sandbox in client.sandboxes("running,paused", usize::MAX).await? {
        client.kill(&sandbox.sandbox_id).await?;
    }
    let log = read_log(server).await?;
    load.check(&log)?;
    let mut shown = Vec::new();
    for hook in hooks {
        let is_owed = |logged: &Logged| (hook.is_owed)(logged, &load.sandboxes);
        let owed: BTreeMap<u64, Logged> = log
            .iter()
            .filter(|(_, logged)| is_owed(logged))
            .map(|(n, logged)| (*n, logged.clone()))
            .collect();
        let what = format!("{} got everything", hook.name);
        // The judge says what is missing where this does not.
        let waited =
            hook.receiver.wait(&what, PATIENCE, |taken, _| owed.keys().all(|number| taken.contains(number)));
        let waited = waited.await;
        let judged = hook.promise.judge(&owed, &hook.receiver.arrivals()?);
        shown.push((hook.name, judged.with_context(|| hook.name)?));
        waited?;
    }
    server.stop_softly().await?;
    server.check_agreement().await?;
    Ok(shown)
}

fn report(rounds: &Range<u64>, load: &Load, shown: &[(&'static str, Shown)], mut restarts: Vec<Duration>) {
    restarts.sort_unstable();
    let median = restarts.get(restarts.len() / 2).copied().unwrap_or_default();
    println!(
        "rounds {rounds:?}: {} changes answered, {:.0} of {RATE} per second; from the restart to the first delivery \
         {median:.0?}, {:.0?} at most; nothing lost, nothing out of order",
        load.n_answered(),
        load.rate(),
        restarts.last().copied().unwrap_or_default(),
    );
    for (name, Shown { events, requests, repeated, repeated_by_one }) in shown {
        println!(
            "    {name:8} {events} events in {requests} requests, {repeated} repeated, {repeated_by_one} by one kill"
        );
    }
}

async fn register(client: &Client, seed: u64) -> Result<Vec<Hook>> {
    let everything = |_: &Logged, _: &[String]| true;
    let of = |order, window| Promise { order, window };
    let prompt = Receiver::start(|_| Answer::Ok).await?;
    let slow =
        Receiver::start(move |n| Answer::OkAfter(Duration::from_millis(Dice::of(seed, n as u64).below(20))));
    let flaky = Receiver::start(move |n| match Dice::of(!seed, n as u64).below(128) {
        0 => Answer::Refuse(500),
        1 => Answer::HangUp,
        _ => Answer::Ok,
    });
    let (slow, flaky) = (slow.await?, flaky.await?);
    let (strict, narrow) = (Receiver::start(|_| Answer::Ok).await?, Receiver::start(|_| Answer::Ok).await?);
    let hooks = vec![
        Hook { name: "prompt", receiver: prompt, promise: of(Order::Sandbox, 8), is_owed: everything },
        Hook { name: "slow", receiver: slow, promise: of(Order::None, 32), is_owed: everything },
        Hook { name: "flaky", receiver: flaky, promise: of(Order::Sandbox, 8), is_owed: everything },
        Hook {
            name: "strict",
            receiver: strict,
            promise: of(Order::Strict, 8),
            is_owed: |logged, _| LIVES.iter().any(|life| logged.event_type.ends_with(life)),
        },
        Hook {
            name: "narrow",
            receiver: narrow,
            promise: of(Order::Sandbox, 1),
            is_owed: |logged, sandboxes| logged.sandbox_id == sandboxes[0],
        },
    ];
    let lives = LIVES.map(|life| format!("sandbox.lifecycle.{life}"));
    let options = [
        json!({}),
        json!({ "ordering": "none", "maxInFlight": 32 }),
        json!({ "retry": { "policy": "custom", "delaysSeconds": vec![1; 50] } }),
        json!({ "ordering": "strict", "events": lives }),
        json!({ "maxInFlight": 1, "filter": { "metadata": { "lane": "0" } } }),
    ];
    for (hook, options) in hooks.iter().zip(options) {
        let types = ["created", "killed", "updated", "paused", "resumed", "checkpointed"];
        let mut body = json!({
            "name": hook.name,
            "url": hook.receiver.url(),
            "events": types.map(|name| format!("sandbox.lifecycle.{name}")),
            "signatureSecret": "a secret for the crash rounds, long enough",
        });
        let (Value::Object(body), Value::Object(options)) = (&mut body, options) else { continue };
        body.extend(options);
        client.register_webhook(&Value::Object(body.clone())).await?;
    }
    let registered = client.webhooks().await?.len();
    ensure!(registered == hooks.len(), "{registered} webhooks");
    Ok(hooks)
}
