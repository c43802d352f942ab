//! What the way through the edge costs: one command, large bodies both ways, many streams at once.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::Full;
use sandscope_client::NewSandbox;
use tokio::process::Command;

use super::transfer;
use super::wire::{self, Inside};
use super::{Child, Row, processes, quantiles, row};

/// Commands run, one after the other.
const N_COMMANDS: usize = 200;

/// Commands not counted.
const N_WARM_UP: usize = 10;

/// Streams at once, and how many of them go into one sandbox, which takes 512.
const N_STREAMS: usize = 1000;
const STREAMS_EACH: usize = 250;

/// How long a server is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(2);

/// All of it; `mib` is the size of the large bodies.
pub(super) async fn measure(mib: u64) -> anyhow::Result<Vec<Row>> {
    let server = Child::start().await?;
    let mut rows = commands(&make(&server).await?).await?;
    rows.extend(transfer::measure(&make(&server).await?, mib << 20).await?);
    rows.push(streams(&server).await?);
    server.stop().await?;
    Ok(rows)
}

async fn make(server: &Child) -> anyhow::Result<Inside> {
    let wanted = NewSandbox { template_id: "base".to_owned(), timeout: Some(3600), ..NewSandbox::default() };
    let sandbox = server.client().create_sandbox(&wanted).await?;
    let token = sandbox.envd_access_token.context("the sandbox has no token")?;
    Ok(Inside { server: server.address()?, id: sandbox.sandbox_id, token })
}

/// `commands.run('true')` as the SDKs ask for it, and what starting that shell costs by itself.
async fn commands(inside: &Inside) -> anyhow::Result<Vec<Row>> {
    let mut sender = wire::connect::<Full<Bytes>>(inside.server).await?;
    let (mut through, mut alone) = (Vec::new(), Vec::new());
    for number in 0..N_WARM_UP + N_COMMANDS {
        let began = Instant::now();
        inside.run(&mut sender, "true").await?;
        let took = began.elapsed();
        let began = Instant::now();
        // Without anybody's own start-up files: a sandbox has none either.
        let mut shell = Command::new("/bin/bash");
        shell.args(["-l", "-c", "true"]).env_clear().env("HOME", "/nonexistent").stderr(Stdio::null());
        let status = shell.status().await?;
        anyhow::ensure!(status.success(), "/bin/bash does not start");
        if number >= N_WARM_UP {
            through.push(took);
            alone.push(began.elapsed());
        }
    }
    let (text, alone_text) = (quantiles::describe(&mut through), quantiles::describe(&mut alone));
    let beyond = quantiles::median(&through).saturating_sub(quantiles::median(&alone));
    let remark = format!("{N_COMMANDS} times /bin/bash -l -c true, one after the other, one connection");
    Ok(vec![
        row("command through the edge", text, remark),
        row("the same shell on the host", alone_text, "in turns with the above"),
        row("beyond process start, p50", quantiles::ms(beyond), "the difference of the two"),
    ])
}

/// Memory of the server with many streams open at once.
async fn streams(server: &Child) -> anyhow::Result<Row> {
    let mut sandboxes = Vec::new();
    let mut held = Vec::new();
    for _ in 0..N_STREAMS / STREAMS_EACH {
        let inside = make(server).await?;
        let (pid, stream) = inside.start("exec sleep 3600").await?;
        held.push(stream);
        sandboxes.push((inside, pid));
    }
    tokio::time::sleep(SETTLE).await;
    let before = processes::rss(server.pid()?).unwrap_or(0);
    for (inside, pid) in &sandboxes {
        let message = serde_json::json!({ "process": { "pid": pid } });
        for _ in 0..STREAMS_EACH {
            let mut sender = wire::connect(inside.server).await?;
            let mut response = inside.stream(&mut sender, "Connect", &message).await?;
            wire::first_frame(&mut response).await?;
            held.push(response);
        }
    }
    tokio::time::sleep(SETTLE).await;
    let after = processes::rss(server.pid()?).unwrap_or(0);
    let grown = after.saturating_sub(before);
    let n = N_STREAMS as u64;
    Ok(row(
        format!("{N_STREAMS} streams at once, server's memory"),
        format!("{:.1} MiB", after as f64 / (1 << 20) as f64),
        format!(
            "resident; {:.1} MiB before them, {} KiB for each; {} sandboxes, one connection per stream",
            before as f64 / (1 << 20) as f64,
            grown / n / 1024,
            sandboxes.len()
        ),
    ))
}
