//! Logs over the real server and real sandboxes: a flood is bounded, a restart loses and repeats nothing.

mod server;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use sandscope_client::{Client, Command, LogEntry, LogQuery, NewSandbox, Sandbox};
use server::Server;

const BOUND: Duration = Duration::from_secs(60);

async fn sandbox(client: &Client) -> Result<Sandbox> {
    let new = NewSandbox { template_id: "base".to_owned(), timeout: Some(600), ..NewSandbox::default() };
    Ok(client.create_sandbox(&new).await?)
}

/// The whole log, read as a client that follows it does.
async fn log(client: &Client, id: &str) -> Result<Vec<LogEntry>> {
    let mut all: Vec<LogEntry> = Vec::new();
    let mut query = LogQuery { forward: true, limit: 1000, ..LogQuery::default() };
    loop {
        let page = client.logs(id, &query).await?;
        let Some(last) = page.last() else { return Ok(all) };
        let at: sandscope_model::Timestamp = last.timestamp.parse()?;
        query.cursor = Some(at.as_millisecond() + 1);
        all.extend(page);
    }
}

/// The log, once `question` says yes to it.
async fn log_once(
    what: &str,
    client: &Client,
    id: &str,
    question: impl Fn(&[LogEntry]) -> bool,
) -> Result<Vec<LogEntry>> {
    let deadline = Instant::now() + BOUND;
    loop {
        let log = log(client, id).await?;
        if question(&log) {
            return Ok(log);
        }
        let tail: Vec<&str> = log.iter().rev().take(5).map(|entry| entry.message.as_str()).collect();
        ensure!(Instant::now() < deadline, "never in the log: {what}; {} entries, {tail:?}", log.len());
        // sleep: the pause between two looks
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn resident_kib(pid: u32) -> Result<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 = statm.split(' ').nth(1).context("no resident pages")?.parse()?;
    Ok(4 * pages)
}

#[tokio::test]
async fn a_flood_is_cut_and_counted_and_nobody_else_notices() -> Result<()> {
    if server::skip_without_root("a flooding sandbox") {
        return Ok(());
    }
    let mut server = Server::start().await?;
    let client = server.client()?;
    let (loud, calm) = (sandbox(&client).await?, sandbox(&client).await?);
    let before = resident_kib(server.pid()?)?;
    // Sixty-four million lines; the command's own end shows that nothing holds it up.
    let flood = Command::shell("yes | head -c 134217728; touch /tmp/done; exit 9");
    drop(client.start(&loud, &flood).await?);
    let (code, _) = client.run(&calm, &Command::shell("for n in $(seq 50); do echo calm $n; done")).await?;
    ensure!(code == 0);
    let is_there = Command::shell("until test -e /tmp/done; do sleep 0.1; done");
    let waiting = client.run(&loud, &is_there);
    ensure!(tokio::time::timeout(BOUND, waiting).await.context("the flooding command is held up")??.0 == 0);

    let calm_lines = |log: &[LogEntry]| -> Vec<String> {
        let messages = log.iter().map(|entry| entry.message.clone());
        messages.filter(|message| message.starts_with("calm")).collect()
    };
    let is_complete = |log: &[LogEntry]| calm_lines(log).len() == 50;
    let log = log_once("the calm sandbox's lines", &client, &calm.sandbox_id, is_complete).await?;
    let expected: Vec<String> = (1..=50).map(|n| format!("calm {n}")).collect();
    ensure!(calm_lines(&log) == expected, "{log:?}");

    let ended = |log: &[LogEntry]| log.iter().any(|entry| entry.message == "process ended: exit status 9");
    let log = log_once("the end of the flood", &client, &loud.sandbox_id, ended).await?;
    let dropped = log.iter().filter_map(|entry| entry.message.split_once(" lines dropped"));
    let n_dropped = dropped.map(|(n, _)| n.parse::<u64>()).sum::<Result<u64, _>>()?;
    let n_kept = u64::try_from(log.iter().filter(|entry| entry.message == "y").count())?;
    ensure!(n_kept > 0 && n_kept <= 20_000, "{n_kept} lines kept");
    ensure!(n_kept + n_dropped == 67_108_864, "{n_kept} kept and {n_dropped} dropped");
    let grown = resident_kib(server.pid()?)?.saturating_sub(before);
    ensure!(grown < 64 * 1024, "the server has grown by {grown} KiB");
    let size = std::fs::metadata(server.data().join("logs.sqlite"))?.len();
    ensure!(size < 32 << 20, "logs take {size} bytes");
    client.kill(&loud.sandbox_id).await?;
    client.kill(&calm.sandbox_id).await?;
    server.stop_softly().await
}

#[tokio::test]
async fn what_is_written_while_the_server_is_down_is_there_once_it_is_back() -> Result<()> {
    if server::skip_without_root("logs over a restart") {
        return Ok(());
    }
    let mut server = Server::start().await?;
    let client = server.client()?;
    let id = sandbox(&client).await?;
    let script = "for n in $(seq 200); do echo line $n; test $n = 50 && sleep 2; sleep 0.01; done";
    drop(client.start(&id, &Command::shell(script)).await?);
    let count = |log: &[LogEntry]| log.iter().filter(|entry| entry.message.starts_with("line ")).count();
    log_once("the first lines", &client, &id.sandbox_id, |log| count(log) >= 10).await?;
    server.kill_hard().await?;
    server.start_again().await?;
    let client = server.client()?;
    let log = log_once("the last line", &client, &id.sandbox_id, |log| {
        log.iter().any(|entry| entry.message == "line 200")
    })
    .await?;
    let lines: Vec<&str> = log
        .iter()
        .map(|entry| entry.message.as_str())
        .filter(|message| message.starts_with("line "))
        .collect();
    let expected: Vec<String> = (1..=200).map(|n| format!("line {n}")).collect();
    ensure!(lines == expected, "{lines:?}");

    client.kill(&id.sandbox_id).await?;
    // The log outlives the sandbox, and says how it ended.
    let killed =
        |log: &[LogEntry]| log.iter().any(|entry| entry.message.starts_with("sandbox killed: request"));
    log_once("the end", &client, &id.sandbox_id, killed).await?;
    server.stop_softly().await
}
