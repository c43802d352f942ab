//! The demo's steps, in order. Each goes through the public API, as a user's would.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use sandscope_client::{
    Client, Command, Event, EventQuery, Metric, NewSandbox, NewWebhook, ProcessEvent, Sandbox,
};

use super::Stage;
use sandscope_cli::{events_table, metrics_line};
use sandscope_model::Clock as _;
use sandscope_receiver::Receiver;
use sandscope_system::OsEntropy;
use sandscope_system::SystemClock;

/// Samples to wait for, the first of them within about two seconds.
const N_SAMPLES: usize = 3;

/// How long that may take at most.
const SAMPLES_LIMIT: Duration = Duration::from_secs(25);

/// How long after the last event its delivery may take: all retries would take longer, but none should be needed.
const DELIVERY_LIMIT: Duration = Duration::from_secs(10);

/// What the load writes to disk and keeps in memory, in bytes.
const DISK_BYTES: u64 = 200 * 1024 * 1024;
const MEMORY_BYTES: u64 = 64 * 1024 * 1024;

/// CPU the loop takes at least, in percent of all, on a machine that has much else to do; an idle sandbox takes less
/// than a tenth of it.
const BUSY_PCT: f64 = 2.0;

/// A file, a block of memory, then a loop that keeps one CPU busy.
const LOAD: &str = r#"
dd if=/dev/zero of="$HOME/data" bs=1M count=200 status=none || exit 1
block=$(head -c 67108864 /dev/zero | tr '\0' m) || exit 1
echo loaded
while :; do :; done
"#;

const EVENT_TYPES: [&str; 6] = ["created", "updated", "paused", "resumed", "checkpointed", "killed"];

/// Tells it. An error ends the story; a broken promise is a miss and the story goes on.
pub(super) async fn show(client: &Client, stage: &mut Stage) -> anyhow::Result<()> {
    let secret = sandscope_model::keys::draw(&OsEntropy);
    let receiver = Receiver::start(secret.expose()).await?;
    let webhook = NewWebhook {
        name: "demo".to_owned(),
        url: receiver.url().to_owned(),
        events: EVENT_TYPES.iter().map(|name| format!("sandbox.lifecycle.{name}")).collect(),
        enabled: true,
        signature_secret: secret.expose().to_owned(),
    };
    client.create_webhook(&webhook).await.context("cannot register the webhook")?;
    stage.done(format_args!("webhook registered for all six event types, to {}", receiver.url()))?;

    let began = Instant::now();
    let sandbox = create(client, "base").await?;
    stage.timed(format_args!("sandbox {} created", sandbox.sandbox_id), began.elapsed())?;

    let load_pid = load(client, stage, &sandbox).await?;
    watch_metrics(client, stage, &sandbox).await?;
    change_timeout(client, stage, &sandbox).await?;
    pause_and_resume(client, stage, &sandbox, load_pid).await?;
    snapshot(client, stage, &sandbox).await?;

    let began = Instant::now();
    client.kill(&sandbox.sandbox_id).await?;
    stage.timed("sandbox killed", began.elapsed())?;
    history(client, stage, &sandbox, &receiver).await
}

async fn create(client: &Client, template: &str) -> anyhow::Result<Sandbox> {
    let wanted = NewSandbox {
        template_id: template.to_owned(),
        timeout: Some(300),
        metadata: [("made-by".to_owned(), "demo".to_owned())].into(),
        ..NewSandbox::default()
    };
    client.create_sandbox(&wanted).await.with_context(|| format!("cannot create a sandbox from {template}"))
}

/// Puts load on the sandbox; the process id, in the sandbox, of what goes on running.
async fn load(client: &Client, stage: &Stage, sandbox: &Sandbox) -> anyhow::Result<u32> {
    let began = Instant::now();
    let mut stream = client.start(sandbox, &Command::shell(LOAD)).await.context("cannot start the load")?;
    let mut pid = None;
    let mut output = Vec::new();
    while let Some(event) = stream.next().await? {
        match event {
            ProcessEvent::Started { pid: started } => pid = Some(started),
            ProcessEvent::Stdout(bytes) | ProcessEvent::Stderr(bytes) | ProcessEvent::Terminal(bytes) => {
                output.extend_from_slice(&bytes);
            }
            ProcessEvent::Ended { status, .. } => {
                anyhow::bail!("the load ended with {status}: {}", String::from_utf8_lossy(&output).trim())
            }
        }
        if output.starts_with(b"loaded") {
            break;
        }
    }
    // The stream is closed; the process goes on without it.
    stage.timed("load started: a 200 MiB file, 64 MiB of memory, one busy CPU", began.elapsed())?;
    pid.context("the agent did not say which process it started")
}

async fn watch_metrics(client: &Client, stage: &mut Stage, sandbox: &Sandbox) -> anyhow::Result<()> {
    stage.note("metrics, as they arrive (every 5 s):")?;
    let mut seen: Vec<Metric> = Vec::new();
    let began = Instant::now();
    while seen.len() < N_SAMPLES && began.elapsed() < SAMPLES_LIMIT {
        let last = seen.last().map(|metric| metric.timestamp_unix);
        for metric in client.metrics(&sandbox.sandbox_id, last).await? {
            if last.is_none_or(|last| metric.timestamp_unix > last) {
                stage.plain(format_args!("         {}", metrics_line(&metric)))?;
                seen.push(metric);
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let most = |read: fn(&Metric) -> u64| seen.iter().map(read).max().unwrap_or(0);
    let busy = seen.iter().any(|metric| metric.cpu_used_pct >= BUSY_PCT);
    stage.check(seen.len() >= N_SAMPLES, format_args!("{} samples arrived", seen.len()))?;
    stage.check(
        busy && most(|metric| metric.mem_used) >= MEMORY_BYTES
            && most(|metric| metric.disk_used) >= DISK_BYTES,
        "the metrics show the load: CPU, memory and disk",
    )?;
    Ok(())
}

async fn change_timeout(client: &Client, stage: &mut Stage, sandbox: &Sandbox) -> anyhow::Result<()> {
    let before = client.sandbox(&sandbox.sandbox_id).await?.end_at;
    client.set_timeout(&sandbox.sandbox_id, 120).await?;
    let after = client.sandbox(&sandbox.sandbox_id).await?.end_at;
    stage
        .check(after != before, format_args!("timeout set to 120 s: ends at {after} instead of {before}"))?;
    Ok(())
}

async fn pause_and_resume(
    client: &Client,
    stage: &mut Stage,
    sandbox: &Sandbox,
    load_pid: u32,
) -> anyhow::Result<()> {
    let began = Instant::now();
    client.pause(&sandbox.sandbox_id).await.context("cannot pause")?;
    stage.timed("paused: no process runs, memory is kept", began.elapsed())?;
    let state = client.sandbox(&sandbox.sandbox_id).await?.state;
    stage.check(state == "paused", format_args!("its state is {state}"))?;

    let began = Instant::now();
    let sandbox = client.connect(&sandbox.sandbox_id, 120).await.context("cannot resume")?;
    stage.timed("resumed", began.elapsed())?;
    let (code, _) = client.run(&sandbox, &Command::shell(&format!("kill -0 {load_pid}"))).await?;
    stage.check(code == 0, format_args!("process {load_pid} lived through it"))?;
    Ok(())
}

async fn snapshot(client: &Client, stage: &mut Stage, sandbox: &Sandbox) -> anyhow::Result<()> {
    let began = Instant::now();
    let snapshot =
        client.snapshot(&sandbox.sandbox_id, Some("demo")).await.context("cannot take a snapshot")?;
    stage.timed(format_args!("snapshot {} taken", snapshot.snapshot_id), began.elapsed())?;

    let began = Instant::now();
    let second = create(client, &snapshot.snapshot_id).await?;
    stage.timed(format_args!("sandbox {} created from it", second.sandbox_id), began.elapsed())?;
    let (code, size) = client.run(&second, &Command::shell(r#"stat -c %s "$HOME/data""#)).await?;
    stage.check(
        code == 0 && size.trim() == DISK_BYTES.to_string(),
        format_args!("the file is there, {} bytes", size.trim()),
    )?;
    client.kill(&second.sandbox_id).await?;
    client.delete_template(&snapshot.snapshot_id).await.context("cannot delete the snapshot")?;
    stage.done("second sandbox killed, snapshot deleted")?;
    Ok(())
}

async fn history(
    client: &Client,
    stage: &mut Stage,
    sandbox: &Sandbox,
    receiver: &Receiver,
) -> anyhow::Result<()> {
    let query = EventQuery { limit: 100, ascending: true, ..EventQuery::default() };
    let events = client.events(&query).await?;
    let ids: Vec<String> = events.iter().map(|event| event.id.clone()).collect();
    let complete = receiver.wait_for(&ids, DELIVERY_LIMIT).await;
    let (n_received, n_invalid) = receiver.tally();
    stage.check(
        complete,
        format_args!("{} events, {n_received} of them received by the webhook", events.len()),
    )?;
    stage.check(
        n_received > 0 && n_invalid == 0,
        format_args!("{n_received} signatures checked, {n_invalid} wrong"),
    )?;
    let of_first: Vec<&str> = events
        .iter()
        .filter(|event| event.sandbox_id.as_deref() == Some(&*sandbox.sandbox_id))
        .map(|event| event.event_type.as_str())
        .collect();
    let all_types =
        EVENT_TYPES.iter().all(|name| of_first.iter().any(|seen| seen.ends_with(&format!(".{name}"))));
    stage.check(all_types, "the history has all six types")?;
    if let Some(latency) = median_latency(&events, receiver) {
        stage.note(format_args!("from event to webhook: {latency:.0} ms in the median"))?;
    }
    stage.plain(format_args!("\n{}\n", events_table(&events, SystemClock.now(), stage.paint())))?;
    Ok(())
}

/// From an event's own time to its arrival, in milliseconds.
fn median_latency(events: &[Event], receiver: &Receiver) -> Option<f64> {
    let mut latencies: Vec<f64> = events
        .iter()
        .filter_map(|event| {
            let at: jiff::Timestamp = event.timestamp.parse().ok()?;
            let delivery = receiver.delivery(&event.id)?;
            Some(delivery.received_at.duration_since(at).as_millis_f64())
        })
        .collect();
    latencies.sort_by(f64::total_cmp);
    latencies.get(latencies.len() / 2).copied()
}
