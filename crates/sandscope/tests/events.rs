//! `sandscope events -f` over connections that break and a server that is killed: every event once, in order.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

#[path = "server/mod.rs"]
mod server;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sandscope_client::NewSandbox;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use server::{Server, skip_without_root};

const BOUND: Duration = Duration::from_secs(90);

/// A way to the server that breaks every now and then, at another place of the stream each time.
async fn flaky_way(target: Arc<Mutex<SocketAddr>>, scale: u64) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let mut allowance = 700_u64;
        while let Ok((client, _)) = listener.accept().await {
            allowance = (allowance * 7 + 13) % 4_000;
            let allowance = (300 + allowance) * scale;
            let server = *target.lock().unwrap();
            tokio::spawn(async move {
                let Ok(server) = TcpStream::connect(server).await else { return };
                let (mut from_client, mut to_client) = client.into_split();
                let (from_server, mut to_server) = server.into_split();
                let there = tokio::io::copy(&mut from_client, &mut to_server);
                let mut limited = tokio::io::AsyncReadExt::take(from_server, allowance);
                let back = tokio::io::copy(&mut limited, &mut to_client);
                tokio::select! { _ = there => {}, _ = back => {} }
            });
        }
    });
    Ok(address)
}

fn address_of(server: &Server) -> Result<SocketAddr> {
    let url = server.environment().get("E2B_API_URL").context("no address")?;
    Ok(url.trim_start_matches("http://").parse()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_survives_broken_connections_and_a_killed_server() -> Result<()> {
    if skip_without_root("following events") {
        return Ok(());
    }
    let mut server = Server::start().await?;
    let target = Arc::new(Mutex::new(address_of(&server)?));
    let way = flaky_way(Arc::clone(&target), 1).await?;
    let key = server.environment().get("E2B_API_KEY").context("no key")?.clone();
    let sandbox = server
        .client()?
        .create_sandbox(&NewSandbox { template_id: "base".to_owned(), ..NewSandbox::default() })
        .await?;
    // The way may break before anything was received: then it is not there yet, and the command says so.
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandscope"));
    command.args(["events", "-f", "--json", "--since", "1h", "--api-url", &format!("http://{way}")]);
    command.env("E2B_API_KEY", &key).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut following = command.kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(following.stdout.take().context("no output")?).lines();
    let mut complaints = BufReader::new(following.stderr.take().context("no errors")?).lines();

    for round in 0..3 {
        let client = server.client()?;
        for _ in 0..25 {
            client.set_timeout(&sandbox.sandbox_id, 300).await?;
        }
        if round == 1 {
            server.kill_hard().await?;
            server.start_again().await?;
            *target.lock().unwrap() = address_of(&server)?;
        }
    }
    server.client()?.kill(&sandbox.sandbox_id).await?;
    let mut seen = Vec::new();
    let reading = async {
        while let Some(line) = lines.next_line().await? {
            let event: serde_json::Value = serde_json::from_str(&line)?;
            seen.push(event["sequence"].as_u64().context("no number")?);
            if event["type"] == "sandbox.lifecycle.killed" {
                return Ok(());
            }
        }
        anyhow::bail!("it ended: {:?}", complaints.next_line().await)
    };
    tokio::time::timeout(BOUND, reading).await.context("not everything was sent in time")??;
    assert_eq!(seen, (1..=77).collect::<Vec<u64>>());
    let noted = complaints.next_line().await?.context("nothing broke")?;
    ensure!(noted.contains("connecting again"), "{noted}");
    following.kill().await?;

    let output = Command::new(env!("CARGO_BIN_EXE_sandscope"))
        .args(["events", "--type", "killed", "--reason", "request", "--since", "1h", "--template", "base"])
        .args(["--api-url", server.environment().get("E2B_API_URL").context("no address")?])
        .env("E2B_API_KEY", &key)
        .output()
        .await?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(text.lines().count() == 2 && text.contains("reason request"), "{text}");
    server.stop_softly().await
}

/// The program in the documentation that begins with `# name` or `// name`.
fn documented(language: &str, name: &str) -> Result<&'static str> {
    let text = include_str!("../../../docs/events.md");
    let opening = format!("```{language}\n");
    let mut blocks = text.split(&opening).skip(1).filter_map(|rest| rest.split("```\n").next());
    blocks
        .find(|block| block.lines().next().is_some_and(|line| line.contains(&format!(" {name}:"))))
        .with_context(|| format!("the documentation has no {name}"))
}

/// The numbers in a file of one event a line.
fn numbers_of_lines(file: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    // The last line may be on its way.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let event = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    whole.lines().map(|line| event(line)["sequence"].as_u64().unwrap()).collect()
}

/// The numbers in a directory of pages.
fn numbers_of_pages(directory: &Path) -> Vec<u64> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let page = std::fs::read(&path).unwrap_or_default();
            let page: Vec<serde_json::Value> = serde_json::from_slice(&page).unwrap_or_default();
            numbers.extend(page.iter().map(|event| event["sequence"].as_u64().unwrap()));
        }
    }
    numbers.sort_unstable();
    numbers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_consumers_are_killed_and_miss_nothing() -> Result<()> {
    if skip_without_root("the documented consumers") {
        return Ok(());
    }
    let mut server = Server::start().await?;
    let way = flaky_way(Arc::new(Mutex::new(address_of(&server)?)), 10).await?;
    let key = server.environment().get("E2B_API_KEY").context("no key")?.clone();
    let client = server.client()?;
    let base = NewSandbox { template_id: "base".to_owned(), ..NewSandbox::default() };
    let sandbox = client.create_sandbox(&base).await?;
    let home = tempfile::tempdir()?;
    let mut consumers = Vec::new();
    for (program, language, name) in
        [("node", "js", "consume.mjs"), ("python3", "python", "consume.py"), ("bash", "bash", "consume.sh")]
    {
        let needs: &[&str] = if program == "bash" { &["bash", "curl"] } else { &[program] };
        let there = needs.iter().all(|program| {
            let mut version = std::process::Command::new(program);
            version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
            version.status().is_ok_and(|status| status.success())
        });
        if !there {
            println!("SKIPPED {name}: {needs:?} is not installed");
            continue;
        }
        let script = home.path().join(name);
        std::fs::write(&script, documented(language, name)?)?;
        let state = home.path().join(format!("{program}-state"));
        if program == "bash" {
            std::fs::create_dir(&state)?;
        }
        consumers.push((program, script, state));
    }
    let start = |(program, script, state): &(&str, std::path::PathBuf, std::path::PathBuf)| {
        let mut command = Command::new(program);
        command.arg(script).arg(state).stdin(Stdio::null()).kill_on_drop(true);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.env("E2B_API_URL", format!("http://{way}")).env("E2B_API_KEY", &key).spawn()
    };
    let seen = |(program, _, state): &(&str, std::path::PathBuf, std::path::PathBuf)| {
        if *program == "bash" { numbers_of_pages(state) } else { numbers_of_lines(state) }
    };
    let mut last = 1;
    for _ in 0..6 {
        let mut running = consumers.iter().map(start).collect::<Result<Vec<_>, _>>()?;
        for _ in 0..20 {
            client.set_timeout(&sandbox.sandbox_id, 300).await?;
            last += 1;
        }
        // Each gets somewhere before it is killed, wherever it is by then.
        let some = |consumer| seen(consumer).len() as u64 >= last / 2;
        server::eventually("every consumer gets on", BOUND, || consumers.iter().all(some)).await?;
        for consumer in &mut running {
            consumer.kill().await?;
        }
    }
    let running = consumers.iter().map(start).collect::<Result<Vec<_>, _>>()?;
    let all: Vec<u64> = (1..=last).collect();
    let done = || consumers.iter().all(|consumer| seen(consumer).last() == Some(&last));
    let seen_by_all = server::eventually("every consumer sees everything", BOUND, done).await;
    let told =
        || consumers.iter().map(|one| format!("{}: {:?}", one.0, seen(one).last())).collect::<Vec<_>>();
    seen_by_all.with_context(|| format!("of {last}: {}", told().join(", ")))?;
    for consumer in &consumers {
        ensure!(seen(consumer) == all, "{}: {:?}", consumer.0, seen(consumer));
    }
    drop(running);
    client.kill(&sandbox.sandbox_id).await?;
    server.stop_softly().await
}
