//! `doctor` and `fsck` on a real host and a real data directory.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::house::{House, kill_9, run};
use crate::server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_finds_the_host_well_and_fsck_finds_what_was_tampered_with() -> Result<()> {
    if server::skip_without_root("doctor and fsck") {
        return Ok(());
    }
    let mut house = House::start(&[]).await?;
    let id = house.create().await?.sandbox_id;
    let doctor = run(&["doctor", "--json", "--listen", "127.0.0.1:0"], &house.server).await?;
    let told: Value = serde_json::from_slice(&doctor.stdout)?;
    ensure!(told["well"] == true && doctor.status.success(), "{told}");
    let checks = told["checks"].as_array().context("checks")?;
    ensure!(checks.len() > 12 && checks.iter().all(|check| check["says"].is_string()), "{told}");
    let private = checks.iter().find(|check| check["name"] == "private programs").context("no such check")?;
    let says = private["says"].as_str().unwrap_or_default();
    ensure!(says.contains(" of /usr: /usr/") || says == "everybody may read all of /usr", "{private}");
    house.server.check_agreement().await?;

    // The kernel no longer agrees with the store, for longer than a moment.
    house.server.kill_hard().await?;
    kill_9(house.pid(&id, "init")?)?;
    let doctor = run(&["doctor", "--listen", "127.0.0.1:0"], &house.server).await?;
    let words = String::from_utf8(doctor.stdout)?;
    ensure!(words.contains("no server runs, but"), "{words}");
    house.server.start_again().await?;
    house.client = house.server.client()?;
    house.server.check_agreement().await?;

    // Somebody takes an event out of the log.
    let other = house.create().await?.sandbox_id;
    house.server.kill_hard().await?;
    let facts = house.server.data().join("facts.sqlite");
    edit(&facts, "UPDATE teams SET last_sequence = last_sequence + 1").await?;
    let fsck = run(&["fsck", "--json"], &house.server).await?;
    let told: Value = serde_json::from_slice(&fsck.stdout)?;
    ensure!(
        told["findings"].to_string().contains("its counter says"),
        "the end of the log is missing: {told}"
    );
    edit(&facts, "UPDATE teams SET last_sequence = last_sequence - 1").await?;
    edit(&facts, "DELETE FROM events WHERE sequence = 2").await?;
    let fsck = run(&["fsck", "--json"], &house.server).await?;
    let told: Value = serde_json::from_slice(&fsck.stdout)?;
    ensure!(told["agrees"] == false && fsck.status.code() == Some(1), "{told}");
    ensure!(told["findings"].to_string().contains("its number should be 2"), "{told}");
    house.server.start_again().await?;
    house.client = house.server.client()?;
    house.client.kill(&other).await?;
    house.server.stop_softly().await
}

#[tokio::test]
async fn fsck_neither_agrees_with_an_empty_database_nor_makes_it_whole() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let facts = dir.path().join("facts.sqlite");
    std::fs::write(&facts, "x")?;
    let mut fsck = tokio::process::Command::new(env!("CARGO_BIN_EXE_sandscope"));
    let told = fsck.args(["fsck", "--data-dir"]).arg(dir.path()).output().await?;
    let words = String::from_utf8(told.stderr)?;
    ensure!(!told.status.success() && words.contains("facts.sqlite is empty"), "{words}");
    ensure!(std::fs::read(&facts)? == b"x", "it was written to");
    Ok(())
}

async fn edit(database: &Path, statement: &str) -> Result<()> {
    let program = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()";
    let mut python = tokio::process::Command::new("python3");
    let edited = python.args(["-c", program]).arg(database).arg(statement).status().await?;
    ensure!(edited.success(), "{statement}");
    Ok(())
}
