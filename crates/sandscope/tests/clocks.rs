//! The real server on a host whose wall clock somebody sets: forward, and back.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

#[path = "server/mod.rs"]
mod server;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sandscope_client::{Client, EventQuery, NewSandbox};

use server::{Server, skip, skip_without_root};

/// The library that lets a process see another wall clock than its host's.
const FAKE: [&str; 2] = ["x86_64-linux-gnu", "aarch64-linux-gnu"];
const BOUND: Duration = Duration::from_secs(120);

fn library() -> Option<PathBuf> {
    let of = |triple: &&str| PathBuf::from(format!("/usr/lib/{triple}/faketime/libfaketimeMT.so.1"));
    FAKE.iter().map(of).find(|path| path.exists())
}

/// Sets the server's wall clock: so many seconds ahead of the host's.
fn set(clock: &Path, offset_s: i64) {
    // Renamed into place: it is read at any moment.
    let new = clock.with_extension("new");
    std::fs::write(&new, format!("{offset_s:+}\n")).unwrap();
    std::fs::rename(new, clock).unwrap();
}

async fn sandbox(client: &Client, timeout_s: u32) -> Result<String> {
    let new =
        NewSandbox { template_id: "base".to_owned(), timeout: Some(timeout_s), ..NewSandbox::default() };
    Ok(client.create_sandbox(&new).await?.sandbox_id)
}

/// Waits until the sandbox has `n` samples.
async fn samples(client: &Client, id: &str, n: usize) -> Result<Vec<i64>> {
    let began = Instant::now();
    loop {
        let found: Vec<i64> =
            client.metrics(id, None).await?.iter().map(|sample| sample.timestamp_unix).collect();
        if found.len() >= n {
            return Ok(found);
        }
        ensure!(began.elapsed() < BOUND, "{n} samples of {id} are not there in time: {found:?}");
        // sleep: the pause between two looks
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_clock_that_is_set_stops_nothing_and_ends_nothing() -> Result<()> {
    if skip_without_root("a wall clock that is set") {
        return Ok(());
    }
    let Some(library) = library() else {
        skip("a wall clock that is set", "libfaketime is not installed");
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let clock = dir.path().join("clock");
    set(&clock, 0);
    let environment = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_NO_CACHE", "1"),
    ];
    let mut server = Server::start_where(&environment).await?;
    let client = server.client()?;
    let began = Instant::now();
    let short = sandbox(&client, 40).await?;
    samples(&client, &short, 1).await?;

    set(&clock, -3_600);
    let (long, set_back_at) = (sandbox(&client, 3_000).await?, host_now() - 3_600);
    samples(&client, &short, 3).await?;
    let of_long = samples(&client, &long, 1).await?;
    ensure!((of_long[0] - set_back_at).abs() < 30, "labelled by the clock as it is set: {of_long:?}");

    // Two hours ahead of the host: three hours further than before. Nothing's time is up for that.
    set(&clock, 7_200);
    samples(&client, &long, 3).await?;
    let end_at: sandscope_model::Timestamp = client.sandbox(&long).await?.end_at.parse()?;
    let left_s = end_at.as_second() - (host_now() + 7_200);
    ensure!((2_900..=3_000).contains(&left_s), "{left_s} s are left of 3,000");

    let killed = loop {
        let query = EventQuery { sandbox_id: Some(short.clone()), ..EventQuery::default() };
        let events = client.events(&query).await?;
        if let Some(killed) = events.iter().find(|event| event.event_type == "sandbox.lifecycle.killed") {
            break killed.clone();
        }
        ensure!(began.elapsed() < BOUND, "its time is never up");
        // sleep: the pause between two looks
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    ensure!(began.elapsed() >= Duration::from_secs(40), "not before its time: {:?}", began.elapsed());
    let ran_ms = killed.event_data.as_ref().and_then(|data| data["execution"]["execution_time"].as_u64());
    ensure!(ran_ms.is_some_and(|ms| (39_000..60_000).contains(&ms)), "it ran for {ran_ms:?} ms");
    let log = std::fs::read_to_string(server.data().join("server.log"))?;
    ensure!(log.matches("the wall clock was set").count() == 2, "one line per step:\n{log}");
    client.kill(&long).await?;
    server.check_agreement().await?;
    server.stop_softly().await
}

/// The host's own clock, in seconds since 1970.
fn host_now() -> i64 {
    sandscope_model::Timestamp::now().as_second()
}
