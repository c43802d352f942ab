//! `sandscope demo` keeps every promise it makes, and leaves nothing behind.

mod server;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

/// Far above what it takes: a busy machine is no failure.
const BOUND: Duration = Duration::from_secs(110);

#[tokio::test]
async fn the_demo_misses_nothing_and_removes_its_data() -> Result<()> {
    if server::skip_without_root("the demo") {
        return Ok(());
    }
    let temporary = tempfile::Builder::new().prefix("sandscope-demo-test-").tempdir()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandscope"));
    command.arg("demo").env("TMPDIR", temporary.path()).kill_on_drop(true);
    let output = tokio::time::timeout(BOUND, command.output()).await.context("the demo hangs")??;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{stdout}\n{stderr}");
    ensure!(stdout.contains("Everything worked"), "{stdout}");
    ensure!(!stdout.contains('\u{1b}'), "colours although nobody watches");
    ensure!(temporary.path().read_dir()?.next().is_none(), "data was left behind");
    Ok(())
}
