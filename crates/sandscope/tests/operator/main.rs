//! The operator's port, judged by Prometheus's own tool.

#[path = "../server/mod.rs"]
mod server;

mod copies;
mod poisoned;
mod port;

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use port::{get, operator_address, scrape};
use sandscope_client::{ClientError, NewSandbox};
use server::{Server, eventually};
use tokio::io::AsyncWriteExt as _;

const PATIENCE: Duration = Duration::from_secs(30);

async fn judge(figures: &str) -> Result<()> {
    let mut command = tokio::process::Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = match command.spawn() {
        Ok(promtool) => promtool,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            #[expect(clippy::print_stderr, reason = "a test says what it skips")]
            {
                eprintln!("SKIPPED promtool's judgement: it is not installed (Debian: prometheus)");
            }
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let mut input = promtool.stdin.take().context("piped")?;
    input.write_all(figures.as_bytes()).await?;
    drop(input);
    let output = tokio::time::timeout(PATIENCE, promtool.wait_with_output()).await??;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success() && said.trim().is_empty(), "promtool: {said}\n{figures}");
    Ok(())
}

#[tokio::test]
async fn prometheus_s_own_tool_finds_nothing_to_complain_about() -> Result<()> {
    if server::skip_without_root("the operator's port") {
        return Ok(());
    }
    let mut server = Server::start_with(&[
        "--operator-listen",
        "127.0.0.1:0",
        "--metrics-top-sandboxes",
        "5",
        // A collector that is not there: what is to be pushed waits.
        "--otlp-endpoint",
        "http://127.0.0.1:9",
    ])
    .await?;
    let address = operator_address(&server).context("the log does not say where the port is")?;
    let idle = scrape(&address).await?;
    judge(&idle).await?;
    for zero in [
        "sandscope_sandboxes{team_id=\"other\",template=\"other\",state=\"running\"} 0\n",
        "sandscope_deaths_total{reason=\"oom\"} 0\n",
        "sandscope_events_committed_total{type=\"sandbox.oom\"} 0\n",
        "sandscope_requests_total{method=\"POST\",route=\"/v2/sandboxes\",status=\"5xx\"} 0\n",
        "sandscope_responses_total{plane=\"data\",status=\"502\"} 0\n",
        "sandscope_request_duration_seconds_count{method=\"any\",route=\"sandbox\"} 0\n",
        "sandscope_deliveries_total{outcome=\"success\"} 0\n",
        "sandscope_delivery_duration_seconds_count 0\n",
    ] {
        ensure!(idle.contains(zero), "no {zero} in {idle}");
    }
    let client = server.client()?;
    let wanted = NewSandbox { template_id: "base".to_owned(), timeout: Some(300), ..NewSandbox::default() };
    let id = client.create_sandbox(&wanted).await?.sandbox_id;
    let mut figures = String::new();
    for _ in 0..300 {
        figures = scrape(&address).await?;
        if figures.contains(&format!("sandscope_sandbox_cpu_used_cores{{sandbox_id=\"{id}\"}}")) {
            break;
        }
        // sleep: the pause between two looks
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ensure!(figures.contains(&id), "the sandbox is never reported: {figures}");
    ensure!(figures.contains("template=\"base\",state=\"running\"} 1\n"), "{figures}");
    ensure!(figures.contains("sandscope_events_total{team_id=\""), "{figures}");
    ensure!(figures.contains("sandscope_otlp_sent_total{signal=\"events\"} 0\n"), "{figures}");
    ensure!(figures.contains("sandscope_otlp_waiting{signal=\"events\"} 1\n"), "{figures}");
    judge(&figures).await?;
    for wanted in [
        "sandscope_creates_total{outcome=\"created\"} 1\n",
        "sandscope_alert_evaluations_total 0\n",
        "sandscope_store_failed_commits_total{file=\"facts\"} 0\n",
        "sandscope_reconcile_rounds_total{result=\"failed\"} 0\n",
        "sandscope_webhook_lag_seconds 0\n",
    ] {
        ensure!(figures.contains(wanted), "no {wanted} in {figures}");
    }
    let commits =
        figures.lines().find_map(|line| line.strip_prefix("sandscope_store_commits_total{file=\"facts\"} "));
    ensure!(commits.is_some_and(|n| n.parse().is_ok_and(|n: u64| n > 0)), "{figures}");
    let reconciler = get(&address, "/reconciler").await?;
    ensure!(reconciler.starts_with("HTTP/1.1 200") && reconciler.contains("\"problems\":[]"), "{reconciler}");
    let nodes = get(&address, "/nodes").await?;
    let (_, nodes) = nodes.split_once("\r\n\r\n").context("no body")?;
    let nodes: serde_json::Value = serde_json::from_str(nodes)?;
    ensure!(nodes[0]["sandboxCount"] == 1 && nodes[0]["metrics"]["allocatedCPU"] == 2, "{nodes}");
    ensure!(nodes[0]["metrics"]["memoryTotalBytes"].as_u64().is_some_and(|bytes| bytes > 0), "{nodes}");
    ensure!(nodes[0]["metrics"]["disks"][0]["totalBytes"].as_u64().is_some_and(|bytes| bytes > 0), "{nodes}");
    ensure!(nodes[0]["sandscope"]["load"][0].is_f64(), "{nodes}");
    ensure!(nodes[0]["commit"] == checked_out().as_str(), "{nodes}");
    let version = std::process::Command::new(env!("CARGO_BIN_EXE_sandscope")).arg("--version").output()?;
    let (version, commit) = (String::from_utf8(version.stdout)?, checked_out());
    let short = if commit == "unknown" { String::new() } else { format!(" ({})", &commit[..12]) };
    ensure!(version == format!("sandscope {}{short}\n", env!("CARGO_PKG_VERSION")), "{version}");
    // The same for a holder of the token, and for nobody else.
    let seen = client.nodes(server::ADMIN_TOKEN).await?;
    ensure!(seen[0].id == nodes[0]["id"] && seen[0].sandbox_count == 1, "{seen:?}");
    let mut shown = tokio::process::Command::new(env!("CARGO_BIN_EXE_sandscope"));
    shown.arg("node").envs(server.environment()).env("SANDSCOPE_ADMIN_TOKEN", server::ADMIN_TOKEN);
    let shown = tokio::time::timeout(PATIENCE, shown.kill_on_drop(true).output()).await??;
    let shown = String::from_utf8(shown.stdout)?;
    ensure!(shown.contains("1 running, 0 paused") && shown.contains("since the start, 0 failed"), "{shown}");
    let refused = client.nodes("another-operator-s-token").await;
    ensure!(matches!(&refused, Err(ClientError::Refused { status: 401, .. })), "{refused:?}");
    // Not the control plane: no key, and nothing but figures.
    ensure!(get(&address, "/sandboxes").await?.starts_with("HTTP/1.1 404"));
    ensure!(get(&address, "/health").await?.starts_with("HTTP/1.1 204"));
    client.kill(&id).await?;
    let after = scrape(&address).await?;
    for wanted in [
        "template=\"base\",state=\"running\"} 0\n",
        "sandscope_deaths_total{reason=\"request\"} 1\n",
        "sandscope_events_committed_total{type=\"sandbox.lifecycle.created\"} 1\n",
        "sandscope_requests_total{method=\"POST\",route=\"/v2/sandboxes\",status=\"2xx\"} 1\n",
        "sandscope_requests_total{method=\"DELETE\",route=\"/sandboxes/{sandboxID}\",status=\"2xx\"} 1\n",
        "sandscope_request_duration_seconds_count{method=\"POST\",route=\"/v2/sandboxes\"} 1\n",
    ] {
        ensure!(after.contains(wanted), "no {wanted} in {after}");
    }
    judge(&after).await?;
    // Nothing that was there is gone, but what is about single sandboxes.
    let series = |figures: &str| -> Vec<String> {
        let all = figures.lines().filter(|line| !line.starts_with('#') && !line.contains("sandbox_id="));
        all.filter_map(|line| line.rsplit_once(' ').map(|(series, _)| series.to_owned())).collect()
    };
    let left = series(&after);
    let gone: Vec<_> = series(&figures).into_iter().filter(|one| !left.contains(one)).collect();
    ensure!(gone.is_empty(), "these series vanished: {gone:?}");
    let log = server.data().join("server.log");
    server.stop_softly().await?;
    eventually("the log is there", PATIENCE, || log.exists()).await
}

/// Where the families are written.
const SOURCE: &str = concat!(
    include_str!("../../../server/src/operator.rs"),
    include_str!("../../../server/src/operator/own.rs"),
    include_str!("../../../server/src/operator/watched.rs"),
    include_str!("../../../server/src/requests.rs"),
    include_str!("../../../server/src/export.rs")
);

/// Insists that every family in a query is one.
fn check_families(expression: &str) -> Result<()> {
    let words = expression.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    for family in words.filter(|word| word.starts_with("sandscope_") || word.starts_with("process_")) {
        let family = family.strip_suffix("_bucket").unwrap_or(family);
        ensure!(SOURCE.contains(&format!("\"{family}\"")), "{family} of `{expression}` does not exist");
    }
    Ok(())
}

/// Prometheus's own tool reads the rules, and runs their tests: what fires, and what stays silent on an idle server.
#[test]
fn the_alerting_rules_are_rules_about_families_that_exist() -> Result<()> {
    let rules = include_str!("../../../../deploy/prometheus/alerts.yml");
    let expressions = rules.split("expr: ").skip(1).filter_map(|rest| rest.split("labels:").next());
    let expressions: Vec<&str> = expressions.collect();
    ensure!(expressions.len() >= 10 && expressions.len() == rules.matches("- alert: ").count());
    expressions.into_iter().try_for_each(check_families)?;
    ensure!(check_families("sandscope_never_total > 0").is_err(), "the check finds what does not exist");
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/prometheus");
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let done = std::process::Command::new("promtool").args(arguments).current_dir(directory).output();
        match done {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                server::skip(
                    "promtool's judgement of the alerting rules",
                    "it is not installed (Debian: prometheus)",
                );
                return Ok(());
            }
            done => {
                let done = done?;
                let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
                ensure!(done.status.success(), "promtool {arguments:?}: {said}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_dashboard_asks_for_families_that_exist() -> Result<()> {
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../../../deploy/grafana/sandscope.json"))?;
    let panels = dashboard["panels"].as_array().context("panels")?;
    ensure!(panels.len() >= 10);
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten()) {
        check_families(target["expr"].as_str().context("an expression")?)?;
    }
    Ok(())
}

/// The commit of these sources as git names it; `unknown` where they are no checkout.
fn checked_out() -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    if !std::path::Path::new(root).join(".git").exists() {
        return "unknown".to_owned();
    }
    let mut git = std::process::Command::new("git");
    let found = git.args(["-c", "safe.directory=*", "-C", root, "rev-parse", "HEAD"]).output();
    found.map_or_else(|_| String::new(), |found| String::from_utf8_lossy(&found.stdout).trim().to_owned())
}
