//! What people do with webhooks over HTTP, at a server with a receiver that refuses until it is mended.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sandscope_client::{Client, NewSandbox};
use serde_json::{Value, json};

use crate::receiver::{Answer, Receiver};
use crate::server::{self, Server};

pub(crate) const BOUND: Duration = Duration::from_secs(60);
const SECRET: &str = "whsec_bm9ib2R5IG1heSBldmVyIHNlZSB0aGlzIG9uZSAuLi4=";
const HIDDEN: &str = "a-token-nobody-may-see";
const COOKIE: &str = "a-cookie-nobody-may-see";
/// As much as is kept of a body.
const KEPT: usize = 64 * 1024;

/// A receiver that says no at length until it is mended.
pub(crate) async fn refusing() -> Result<(Receiver, Arc<AtomicBool>)> {
    let body = "no".repeat(KEPT);
    let head = format!(
        "HTTP/1.1 400 No\r\nset-cookie: {COOKIE}\r\nx-said: so\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let no: Arc<[u8]> = Arc::from((head + &body).as_bytes());
    let mended = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&mended);
    let answer = move |_| match seen.load(Ordering::SeqCst) {
        true => Answer::Ok,
        false => Answer::Say(Arc::clone(&no)),
    };
    Ok((Receiver::start(answer).await?, mended))
}

/// Asks until `look` finds something in the answer.
pub(crate) async fn until<T, F: Future<Output = Result<Option<T>>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> Result<T> {
    let looking = async {
        loop {
            if let Some(found) = look().await? {
                return anyhow::Ok(found);
            }
            // sleep: the pause between two looks
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(BOUND, looking).await.with_context(|| format!("not within {BOUND:?}: {what}"))?
}

pub(crate) fn text(value: &Value, key: &str) -> Result<String> {
    value[key].as_str().map(str::to_owned).with_context(|| format!("no {key}: {value}"))
}

pub(crate) fn base() -> NewSandbox {
    NewSandbox { template_id: "base".to_owned(), timeout: Some(600), ..NewSandbox::default() }
}

fn headers(attempt: &Value, key: &str) -> Result<Value> {
    Ok(serde_json::from_str(&text(attempt, key)?)?)
}

/// A replay or resend once it is over.
async fn over(client: &Client, id: &str, replay: &Value) -> Result<Value> {
    let replay_id = text(replay, "id")?;
    until("the replay is over", || async {
        let replay = client.replay(id, &replay_id).await?;
        Ok((replay["state"] != "running").then_some(replay))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_is_looked_into_and_sent_again() -> Result<()> {
    if server::skip_without_root("webhooks operated over HTTP") {
        return Ok(());
    }
    let mut server = Server::start().await?;
    let client = server.client()?;
    let (receiver, mended) = refusing().await?;
    let webhook = json!({
        "name": "operated", "url": receiver.url(), "signatureSecret": SECRET, "headers": { "X-Token": HIDDEN },
        "events": ["sandbox.lifecycle.created", "sandbox.lifecycle.updated"],
        "retry": { "policy": "custom", "delaysSeconds": [1] },
    });
    let id = text(&client.register_webhook(&webhook).await?, "id")?;
    let sandbox = client.create_sandbox(&base()).await?.sandbox_id;

    // Both attempts are spent: it is among the dead letters, and the attempts can be looked into.
    let letter = until("it is a dead letter", || async {
        let page = client.dead_letters(&id, None).await?;
        Ok(page["data"].get(0).cloned())
    })
    .await?;
    ensure!(letter["attempts"] == 2 && letter["sandboxId"] == sandbox.as_str(), "{letter}");
    ensure!(letter["eventType"] == "sandbox.lifecycle.created", "{letter}");
    let failed = until("both attempts are listed", || async {
        let page = client.attempts(&id, true, 100).await?;
        let attempts = page["data"][0]["attempts"].as_array().cloned().unwrap_or_default();
        Ok((attempts.len() == 2).then_some(attempts))
    })
    .await?;
    let delivery = text(&failed[0], "id")?;
    let detail = client.attempt(&id, &delivery).await?;
    for (key, expected) in [
        ("status", json!("failed")),
        ("errorClass", json!("http_error")),
        ("responseHttpStatusCode", json!(400)),
        ("eventId", letter["eventId"].clone()),
        ("requestUrl", json!(receiver.url())),
    ] {
        ensure!(detail[key] == expected, "{key}: {}", detail[key]);
    }
    let sent = receiver.arrivals()?;
    ensure!(sent.len() == 2 && text(&detail, "requestBody")?.as_bytes() == &*sent[0].body);
    ensure!(text(&detail, "responseBody")? == "no".repeat(KEPT / 2), "not the first 64 KiB");
    let asked = headers(&detail, "requestHeaders")?;
    for name in ["x-token", "e2b-signature", "webhook-signature"] {
        ensure!(asked[name] == "[redacted]", "{name}: {asked}");
    }
    ensure!(asked["webhook-id"] == letter["eventId"] && asked["e2b-delivery-id"] == *delivery, "{asked}");
    let answered = headers(&detail, "responseHeaders")?;
    ensure!(answered["x-said"] == "so" && answered["set-cookie"] == "[redacted]", "{answered}");
    let everything = format!("{failed:?} {detail} {} {}", client.webhook(&id).await?, letter);
    for secret in [SECRET, HIDDEN, COOKIE] {
        ensure!(!everything.contains(secret), "{secret} is shown");
    }
    let missing = client.attempt(&id, "00000000-0000-4000-8000-000000000000").await.map(drop);
    ensure!(missing.is_err_and(|error| error.status() == Some(404)));

    // Sent again, and delivered this time: nobody's dead letter any more.
    mended.store(true, Ordering::SeqCst);
    let resent = over(&client, &id, &client.resend(&id, &delivery).await?).await?;
    ensure!(resent["delivered"] == 1 && resent["selected"] == 1, "{resent}");
    let again = receiver.arrivals()?;
    ensure!(again.len() == 3 && again[2].taken && again[2].event_id == again[0].event_id, "{again:?}");
    ensure!(again[2].delivery_id != again[0].delivery_id, "the same delivery id");
    let letters = client.dead_letters(&id, None).await?;
    ensure!(letters["data"] == json!([]), "{letters}");

    // A made-up event goes the same way, and says that it is one.
    let tried = client.test_webhook(&id).await?;
    ensure!(tried["status"] == "success" && tried["responseHttpStatusCode"] == 200, "{tried}");
    let test = receiver.arrivals()?.pop().context("nothing came")?;
    let body: Value = serde_json::from_slice(&test.body)?;
    ensure!(body["test"] == true && test.delivery_id == text(&tried, "id")?, "{body}");
    until("the test is listed", || async {
        let page = client.attempts(&id, false, 100).await?;
        Ok(page.to_string().contains(&test.delivery_id).then_some(()))
    })
    .await?;
    let stats = client.webhook_stats(&id).await?;
    ensure!(stats["total"] == 4 && stats["failed"] == 2, "{stats}");

    client.kill(&sandbox).await?;
    server.stop_softly().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_tells_how_far_it_is_and_ends_when_told() -> Result<()> {
    const N: usize = 30;
    if server::skip_without_root("replays over HTTP") {
        return Ok(());
    }
    let mut server = Server::start().await?;
    let client = server.client()?;
    let sandbox = client.create_sandbox(&base()).await?.sandbox_id;
    for _ in 0..N {
        client.set_timeout(&sandbox, 600).await?;
    }
    let receiver = Receiver::start(|_| Answer::Ok).await?;
    let webhook = json!({
        "name": "replayed", "url": receiver.url(), "signatureSecret": SECRET,
        "events": ["sandbox.lifecycle.updated"],
    });
    let id = text(&client.register_webhook(&webhook).await?, "id")?;
    let started = client.start_replay(&id, &json!({ "select": "all", "ratePerSecond": 1 })).await?;
    ensure!(started["state"] == "running" && started["total"] == N + 1, "{started}");
    let replay_id = text(&started, "id")?;
    let under_way = until("it is under way", || async {
        let replay = client.replay(&id, &replay_id).await?;
        Ok(replay["delivered"].as_u64().is_some_and(|n| n > 0).then_some(replay))
    })
    .await?;
    let (looked_at, selected) = (under_way["lookedAt"].as_u64(), under_way["selected"].as_u64());
    ensure!(looked_at < Some(N as u64) && selected <= looked_at, "{under_way}");
    let canceled = client.cancel_replay(&id, &replay_id).await?;
    ensure!(canceled["state"] == "canceled" && canceled["finishedAt"].is_string(), "{canceled}");
    let twice = client.cancel_replay(&id, &replay_id).await.map(drop);
    ensure!(twice.is_err_and(|error| error.status() == Some(409)));

    // The next one does everything; what had been sent before is sent again, and nothing of the canceled one follows.
    let second = client.start_replay(&id, &json!({ "select": "all" })).await?;
    let done = over(&client, &id, &second).await?;
    ensure!(done["delivered"] == N && done["failed"] == 0 && done["lookedAt"] == N + 1, "{done}");
    let canceled = client.replay(&id, &replay_id).await?;
    let n_canceled = canceled["delivered"].as_u64().context("no count")?;
    let arrivals = receiver.arrivals()?;
    ensure!(arrivals.len() as u64 == n_canceled + N as u64, "{} requests, {canceled}", arrivals.len());
    let different: BTreeSet<u64> = arrivals.iter().map(|arrival| arrival.sequence).collect();
    ensure!(different == (2..=N as u64 + 1).collect(), "{different:?}");
    let listed = client.replays(&id).await?;
    let ids: Vec<_> = listed.as_array().into_iter().flatten().map(|replay| &replay["id"]).collect();
    ensure!(ids == [&second["id"], &started["id"]], "newest first: {listed}");
    client.kill(&sandbox).await?;
    server.stop_softly().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_given_with_a_sandbox_hear_of_it_alone() -> Result<()> {
    if server::skip_without_root("webhooks given with a sandbox") {
        return Ok(());
    }
    let mut server = Server::start().await?;
    let client = server.client()?;
    let (all, ends) = (Receiver::start(|_| Answer::Ok).await?, Receiver::start(|_| Answer::Ok).await?);
    let lives = ["created", "updated", "paused", "resumed", "killed"];
    let lives = lives.map(|name| format!("sandbox.lifecycle.{name}"));
    let webhooks = vec![
        json!({ "url": all.url(), "events": lives, "signatureSecret": SECRET }),
        json!({ "url": ends.url(), "events": ["sandbox.lifecycle.killed"], "signatureSecret": SECRET }),
    ];
    let id = client.create_sandbox(&NewSandbox { webhooks, ..base() }).await?.sandbox_id;
    let other = client.create_sandbox(&base()).await?.sandbox_id;
    let listed = client.webhooks().await?;
    ensure!(listed.len() == 2, "{listed:?}");
    for webhook in listed {
        let shown = client.webhook(&webhook.id).await?;
        ensure!(shown["sandboxID"] == *id, "{shown}");
    }
    client.set_timeout(&other, 500).await?;
    client.set_timeout(&id, 500).await?;
    client.pause(&id).await?;
    // The others live on over a kill of the server.
    server.kill_hard().await?;
    server.start_again().await?;
    let client = server.client()?;
    client.connect(&id, 600).await?;
    client.kill(&other).await?;
    client.kill(&id).await?;
    for (receiver, expected) in [(&all, lives.as_slice()), (&ends, &lives[4..])] {
        let last = &expected[expected.len() - 1];
        until("its end is delivered", || async {
            Ok(receiver.arrivals()?.iter().any(|arrival| arrival.event_type == *last).then_some(()))
        })
        .await?;
        let arrivals = receiver.arrivals()?;
        ensure!(arrivals.iter().all(|arrival| arrival.sandbox_id == id), "{arrivals:?}");
        let mut heard: Vec<&str> = arrivals.iter().map(|arrival| arrival.event_type.as_str()).collect();
        // A kill may repeat what was on its way.
        heard.dedup();
        ensure!(heard.iter().copied().collect::<BTreeSet<_>>().len() == expected.len(), "{heard:?}");
        ensure!(heard.last() == Some(&last.as_str()) && heard[0] == expected[0], "{heard:?}");
    }
    server.stop_softly().await
}
