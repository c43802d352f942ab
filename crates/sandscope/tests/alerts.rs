//! Alerts on real sandboxes under the real server: memory that runs out, a crash loop and a full CPU each fire once and
//! resolve, and arrive in the history, in the stream and at a webhook; a server that is killed in between goes on.

mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use sandscope_client::{
    AlertRuleBody, Client, Command, Event, EventFilter, EventQuery, Followed, NewSandbox, NewWebhook, Sandbox,
};
use serde_json::Value;
use server::{Receiver, Server, eventually};

const BOUND: Duration = Duration::from_secs(60);
const TYPES: [&str; 2] = ["sandbox.alert.firing", "sandbox.alert.resolved"];

fn filter() -> EventFilter {
    EventFilter { types: TYPES.map(ToOwned::to_owned).to_vec(), ..EventFilter::default() }
}

fn rule(name: &str, metric: &str, above: f64) -> AlertRuleBody {
    AlertRuleBody {
        name: Some(name.to_owned()),
        metric: Some(metric.to_owned()),
        above: Some(above),
        ..AlertRuleBody::default()
    }
}

async fn create(client: &Client, labels: &[(&str, &str)]) -> Result<Sandbox> {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let wanted = NewSandbox {
        template_id: "base".to_owned(),
        timeout: Some(300),
        metadata: labels.collect::<BTreeMap<_, _>>(),
        ..NewSandbox::default()
    };
    Ok(client.create_sandbox(&wanted).await?)
}

/// What the history says of alerts.
async fn told(client: &Client) -> Result<Vec<Event>> {
    let query = EventQuery { filter: filter(), limit: 100, ascending: true, ..EventQuery::default() };
    Ok(client.events(&query).await?)
}

fn alert(event: &Event) -> Value {
    event.event_data.as_ref().map(|data| data["alert"].clone()).unwrap_or_default()
}

/// Waits until a rule has published `n` events.
async fn wait_told(client: &Client, name: &str, n: usize) -> Result<Vec<Event>> {
    let deadline = Instant::now() + BOUND;
    loop {
        let mut events = told(client).await?;
        events.retain(|event| alert(event)["rule"] == name);
        if events.len() >= n {
            return Ok(events);
        }
        ensure!(Instant::now() < deadline, "{name} published {} events, not {n}", events.len());
        // sleep: the pause between two looks
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What a command of `sandscope` prints.
async fn command(server: &Server, line: &str) -> Result<String> {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_sandscope"));
    command.args(line.split(' ')).envs(server.environment()).kill_on_drop(true);
    let output = tokio::time::timeout(BOUND, command.output()).await??;
    ensure!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// From the host, as whatever else kills processes there.
fn kill_agent(server: &Server, id: &str) -> Result<()> {
    let record = std::fs::read(server.data().join("sandboxes").join(id).join("sandbox.json"))?;
    let record: Value = serde_json::from_slice(&record)?;
    let pid = record["made"]["init"]["pid"].as_i64().context("no such process recorded")?;
    nix::sys::signal::kill(Pid::from_raw(pid.try_into()?), Signal::SIGKILL).context("kill -9")
}

/// Everything the stream says, until both kinds of every rule were there.
async fn follow(client: Client, n: usize) -> Result<BTreeSet<String>> {
    let mut stream = client.follow(None, &filter(), "oldest");
    let mut ids = BTreeSet::new();
    while ids.len() < n {
        if let Followed::Event(event) = stream.next().await? {
            ids.insert(event.id);
        }
    }
    Ok(ids)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_to_real_sandboxes_fires_arrives_everywhere_and_resolves() -> Result<()> {
    if server::skip_without_root("alerts") {
        return Ok(());
    }
    let mut server = Server::start_with(&["--memory-mb", "128", "--vcpu-count", "1"]).await?;
    let client = server.client()?;
    let receiver = Receiver::start().await?;
    client
        .create_webhook(&NewWebhook {
            name: "alerts".to_owned(),
            url: receiver.url(),
            events: TYPES.map(ToOwned::to_owned).to_vec(),
            enabled: true,
            signature_secret: "0123456789abcdef0123456789abcdef".to_owned(),
        })
        .await?;
    // Machines that test are busy themselves: what is full gets far less than all of a CPU there.
    let busy = "alert create busy --metric cpuPct --above 10 --clear 5 --for 2";
    ensure!(command(&server, busy).await?.trim().len() == 36, "it prints the rule's id");
    for rule in [
        AlertRuleBody { within_seconds: Some(5), ..rule("memory", "outOfMemory", 1.0) },
        AlertRuleBody { by: Some("metadata.job".to_owned()), ..rule("loop", "crashes", 3.0) },
    ] {
        client.create_alert_rule(&rule).await?;
    }
    let streamed = tokio::spawn(follow(client.clone(), 2));

    // Memory runs out, and the sandbox lives on.
    let sandbox = create(&client, &[("user", "ann")]).await?;
    let (code, _) = client.run(&sandbox, &Command::shell("tail /dev/zero")).await?;
    ensure!(code != 0);
    let memory = wait_told(&client, "memory", 1).await?;
    ensure!(alert(&memory[0])["subject"] == format!("sandbox:{}", sandbox.sandbox_id), "{memory:?}");
    ensure!(memory[0].sandbox_id.as_deref() == Some(&*sandbox.sandbox_id), "{memory:?}");
    let labels = memory[0].event_data.as_ref().map(|data| data["sandbox_metadata"]["user"].clone());
    ensure!(labels == Some("ann".into()), "{memory:?}");

    // Every CPU it has is full, until it is not.
    let burn = "for i in 1 2 3 4 5 6; do (while [ ! -e /tmp/enough ]; do :; done) & done";
    client.run(&sandbox, &Command::shell(&format!("nohup sh -c '{burn}' >/dev/null 2>&1 &"))).await?;
    wait_told(&client, "busy", 1).await?;
    let firing = client.alerts().await?.firing;
    ensure!(firing.iter().any(|alert| alert.rule == "busy"), "{firing:?}");
    let shown = command(&server, "alert list").await?;
    ensure!(shown.contains("busy") && shown.contains(&format!("sandbox:{}", sandbox.sandbox_id)), "{shown}");
    let rules = command(&server, "alert rules --json").await?;
    ensure!(rules.lines().count() == 3 && rules.contains("\"metric\":\"cpuPct\""), "{rules}");

    let heard = tokio::time::timeout(BOUND, streamed).await???;
    ensure!(heard.len() == 2, "a follower receives it as it happens");

    // Made again and again, and each time it dies.
    for n in 0..3 {
        if n == 2 {
            // Nobody is there when it comes to the threshold.
            let last = create(&client, &[("job", "nightly")]).await?;
            server.kill_hard().await?;
            kill_agent(&server, &last.sandbox_id)?;
            server.start_again().await?;
        } else {
            let one = create(&client, &[("job", "nightly")]).await?;
            kill_agent(&server, &one.sandbox_id)?;
        }
    }
    // Another port.
    let client = server.client()?;
    let looping = wait_told(&client, "loop", 1).await?;
    ensure!(alert(&looping[0])["subject"] == "metadata.job=nightly", "{looping:?}");
    ensure!(alert(&looping[0])["value"] == 3.0, "{looping:?}");

    client.run(&sandbox, &Command::shell("touch /tmp/enough")).await?;
    let rules = client.alert_rules().await?;
    let id = rules.iter().find(|rule| rule.name == "loop").and_then(|rule| rule.id).context("its id")?;
    // There were fewer deaths than that: the change resolves it for good.
    let change = AlertRuleBody { above: Some(4.0), ..AlertRuleBody::default() };
    client.update_alert_rule(&id.to_string(), &change).await?;
    for name in ["memory", "busy", "loop"] {
        let events = wait_told(&client, name, 2).await?;
        let types: Vec<_> = events.iter().map(|event| event.event_type.as_str()).collect();
        ensure!(types == TYPES, "{name}: {types:?}");
    }
    let owed: BTreeSet<String> = told(&client).await?.into_iter().map(|event| event.id).collect();
    eventually("the webhook receives all", BOUND, || receiver.has_all(&owed)).await?;
    let heard = tokio::time::timeout(BOUND, follow(client.clone(), owed.len())).await??;
    ensure!(heard == owed, "the stream says the same");
    ensure!(owed.len() == 6, "each fires once and resolves once");
    ensure!(client.alerts().await?.firing.is_empty());
    client.kill(&sandbox.sandbox_id).await?;
    server.check_agreement().await?;
    server.stop_softly().await
}
