//! How true the metrics are: what a sandbox is known to have used beside what its metrics say.
//!
//! What is known comes from elsewhere: CPU time from the kernel's accounting of the processes themselves (`times`),
//! memory from a program that holds a known amount, disk from what `dd` wrote. Metrics are those anybody gets: the
//! stream of seconds, added up over the run and a little beyond it, so that its edges do not matter.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use sandscope_client::{Client, Command, NewSandbox, Sandbox};

use super::{Child, Row, row};

/// How long each load runs.
const LOAD_S: u32 = 15;
/// How long the metrics are followed before and after.
const MARGIN: Duration = Duration::from_secs(3);
const MIB: f64 = 1024.0 * 1024.0;
const HELD_MIB: u32 = 200;
const WRITTEN_MIB: u32 = 256;

/// One row for each load: known, reported, and the difference.
pub(super) async fn measure() -> anyhow::Result<Vec<Row>> {
    let server = Child::start().await?;
    let outcome = all(server.client()).await;
    server.stop().await?;
    outcome
}

async fn all(client: &Client) -> anyhow::Result<Vec<Row>> {
    let wanted = NewSandbox { template_id: "base".to_owned(), timeout: Some(3600), ..NewSandbox::default() };
    let sandbox = client.create_sandbox(&wanted).await?;
    let (code, _) = client.run(&sandbox, &Command::shell("command -v stress-ng")).await?;
    ensure!(code == 0, "this figure needs stress-ng on the host (Debian: apt-get install stress-ng)");
    let mut rows = Vec::new();
    for (workers, load) in [(1, 25), (1, 50), (1, 100), (2, 100)] {
        rows.push(cpu(client, &sandbox, workers, load).await?);
    }
    rows.push(memory(client, &sandbox).await?);
    rows.extend(disk(client, &sandbox).await?);
    Ok(rows)
}

async fn cpu(client: &Client, sandbox: &Sandbox, workers: u32, load: u32) -> anyhow::Result<Row> {
    let script = format!(
        "stress-ng --quiet --cpu {workers} --cpu-load {load} --cpu-method int64 --timeout {LOAD_S}s; times"
    );
    let mut seconds = client.follow_metrics(&sandbox.sandbox_id, 0).await?;
    let (asked, asker) = (client.clone(), sandbox.clone());
    let mut running = tokio::spawn(async move {
        tokio::time::sleep(MARGIN).await;
        let ran = asked.run(&asker, &Command::shell(&script)).await;
        tokio::time::sleep(MARGIN).await;
        ran
    });
    let (mut reported, mut last) = (0.0, None);
    let (code, output) = loop {
        tokio::select! {
            ran = &mut running => break ran.context("the load could not be run")??,
            second = seconds.next() => {
                let metric = second?.context("the stream of metrics ended")?.metric;
                // A point covers the time since the one before; a second that was missed is in the next.
                let span = last.map_or(1, |last| metric.timestamp_unix - last);
                last = Some(metric.timestamp_unix);
                reported += metric.cpu_used_pct / 100.0 * f64::from(metric.cpu_count) * span as f64;
            }
        }
    };
    ensure!(code == 0, "stress-ng failed: {output}");
    let known = children_time(&output).with_context(|| format!("no times in {output:?}"))?;
    Ok(compared(
        format!("CPU, stress-ng at {} %", workers * load),
        known,
        reported,
        "CPU-s",
        format!("{:.0} % of a CPU got", known / f64::from(LOAD_S) * 100.0),
    ))
}

/// The last line of `times`: user and system time of the shell's children, `0m7.412s 0m0.020s`.
fn children_time(output: &str) -> Option<f64> {
    let seconds = |text: &str| {
        let (minutes, seconds) = text.trim_end_matches('s').split_once('m')?;
        Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
    };
    let mut parts = output.lines().last()?.split_whitespace();
    Some(seconds(parts.next()?)? + seconds(parts.next()?)?)
}

/// The program is there before it holds anything, so that the interpreter's own memory is not counted as what it holds.
async fn memory(client: &Client, sandbox: &Sandbox) -> anyhow::Result<Row> {
    let program = format!(
        "import os, time\n\
         def until(name):\n    while not os.path.exists(name): time.sleep(0.05)\n\
         open('/tmp/started', 'w')\n\
         until('/tmp/go')\n\
         held = bytearray(b'x') * ({HELD_MIB} << 20)\n\
         open('/tmp/held', 'w')\n\
         until('/tmp/done')\n"
    );
    let script = format!("python3 -c \"{program}\"");
    let (asked, asker) = (client.clone(), sandbox.clone());
    let running = tokio::spawn(async move { asked.run(&asker, &Command::shell(&script)).await });
    step(client, sandbox, "until [ -e /tmp/started ]; do sleep 0.1; done").await?;
    let before = used(client, sandbox).await?.0;
    step(client, sandbox, "touch /tmp/go; until [ -e /tmp/held ]; do sleep 0.1; done").await?;
    let reported = used(client, sandbox).await?.0 - before;
    step(client, sandbox, "touch /tmp/done").await?;
    let (code, output) = running.await.context("the program could not be run")??;
    ensure!(code == 0, "the program failed: {output}");
    Ok(compared(
        "memory, python3 holding a known amount".to_owned(),
        f64::from(HELD_MIB),
        reported / MIB,
        "MiB",
        "beyond the same program holding nothing".to_owned(),
    ))
}

/// Runs `script` and lets the metrics catch up.
async fn step(client: &Client, sandbox: &Sandbox, script: &str) -> anyhow::Result<()> {
    let (code, output) =
        client.run(sandbox, &Command::shell(&format!("timeout 60 sh -c '{script}'"))).await?;
    ensure!(code == 0, "not within a minute: {script}: {output}");
    tokio::time::sleep(MARGIN).await;
    Ok(())
}

async fn disk(client: &Client, sandbox: &Sandbox) -> anyhow::Result<Vec<Row>> {
    let before = (used(client, sandbox).await?.1, client.details(&sandbox.sandbox_id).await?.disk);
    let script = format!("dd if=/dev/urandom of=/home/user/known bs=1M count={WRITTEN_MIB} conv=fsync 2>&1");
    let (code, output) = client.run(sandbox, &Command::shell(&script)).await?;
    ensure!(code == 0, "dd failed: {output}");
    tokio::time::sleep(MARGIN).await;
    let reported = (used(client, sandbox).await?.1, client.details(&sandbox.sandbox_id).await?.disk);
    let known = f64::from(WRITTEN_MIB);
    let written = reported.1.written_bytes.zip(before.1.written_bytes);
    let written = written.context("the kernel does not say what was written")?;
    Ok(vec![
        compared("disk used, dd".to_owned(), known, (reported.0 - before.0) / MIB, "MiB", String::new()),
        compared(
            "disk written, dd".to_owned(),
            known,
            (written.0 - written.1) as f64 / MIB,
            "MiB",
            "the file system's own blocks are in it".to_owned(),
        ),
    ])
}

/// Memory and disk used, from the newest second.
async fn used(client: &Client, sandbox: &Sandbox) -> anyhow::Result<(f64, f64)> {
    let mut seconds = client.follow_metrics(&sandbox.sandbox_id, 0).await?;
    let metric = seconds.next().await?.context("the stream of metrics ended")?.metric;
    Ok((metric.mem_used as f64, metric.disk_used as f64))
}

fn compared(figure: String, known: f64, reported: f64, unit: &str, remark: String) -> Row {
    let difference = (reported - known) / known * 100.0;
    let remark = if remark.is_empty() { remark } else { format!("; {remark}") };
    row(
        figure,
        format!("{difference:+.2} %"),
        format!("known {known:.2} {unit}, reported {reported:.2}{remark}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_the_shell_writes_them() {
        assert_eq!(children_time("0m0.004s 0m0.001s\n1m7.500s 0m0.250s\n"), Some(67.75));
        assert_eq!(children_time("nonsense"), None);
        assert_eq!(children_time(""), None);
    }
}
