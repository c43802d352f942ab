mod ended;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use sandscope_client::{Client, ClientError, ListedSandbox, NewSandbox};
use sandscope_model::{Clock as _, when};
use sandscope_system::SystemClock;
use serde_json::{Value, json};

use crate::arguments::{CreateArgs, Format, SandboxCommand};
use crate::{chart, commands, metrics_line};
use sandscope_console::output::{self, Paint, printable};

/// How often `metrics --follow` looks: what the official command line does.
const FOLLOW_EVERY: Duration = Duration::from_millis(400);

/// `sandscope sandbox …`
pub(crate) async fn run(command: SandboxCommand) -> anyhow::Result<ExitCode> {
    match command {
        SandboxCommand::Create(arguments) => create(arguments).await?,
        SandboxCommand::Exec(arguments) => return Ok(commands::exec::run(arguments).await),
        SandboxCommand::Connect(arguments) => return commands::connect::run(arguments).await,
        SandboxCommand::Logs(arguments) => return commands::logs::run(arguments).await,
        SandboxCommand::List { state, limit, format, server } => {
            let sandboxes = commands::client(server)?.sandboxes(&state, limit).await?;
            list(&sandboxes, format.get())?;
        }
        SandboxCommand::Info { id, format, server } => {
            info(&commands::client(server)?, &id, format.get()).await?;
        }
        SandboxCommand::Metrics { id, chart: true, server, .. } => {
            chart::run(&commands::client(server)?, &id).await?;
        }
        SandboxCommand::Metrics { id, follow, since, format, server, .. } => {
            let since = since.map(|at| at.as_second().max(0));
            metrics(&commands::client(server)?, &id, follow, since, format.get()).await?;
        }
        SandboxCommand::Kill { ids, all, format, server } => {
            return kill(&commands::client(server)?, ids, all, format.get()).await;
        }
        SandboxCommand::Pause { id, format, server } => {
            commands::client(server)?.pause(&id).await?;
            let done = json!({ "sandboxID": id, "state": "paused" });
            say(format.get(), &done, &format!("Sandbox {id} has been paused"))?;
        }
        SandboxCommand::Resume { id, timeout, format, server } => {
            resume(&commands::client(server)?, &id, timeout, format.get()).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(arguments: CreateArgs) -> anyhow::Result<()> {
    let CreateArgs { template, named, timeout, auto_pause, metadata, env, format, server } = arguments;
    let sandbox = NewSandbox {
        template_id: template.or(named).unwrap_or_else(|| "base".to_owned()),
        timeout: Some(timeout),
        auto_pause,
        metadata: metadata.into_iter().collect(),
        env_vars: env.into_iter().collect(),
        ..NewSandbox::default()
    };
    let made = commands::client(server)?.create_sandbox(&sandbox).await?;
    match format.get() {
        Format::Pretty => output::line(made.sandbox_id)?,
        Format::Json => {
            let made = json!({ "sandboxID": made.sandbox_id, "templateID": made.template_id });
            output::line(made)?;
        }
    }
    Ok(())
}

fn list(sandboxes: &[ListedSandbox], format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        for sandbox in sandboxes {
            output::line(serde_json::to_string(sandbox)?)?;
        }
        return Ok(());
    }
    let row = |sandbox: &ListedSandbox| {
        vec![
            sandbox.sandbox_id.clone(),
            printable(sandbox.alias.as_ref().unwrap_or(&sandbox.template_id)),
            sandbox.state.clone(),
            moment(&sandbox.started_at),
            moment(&sandbox.end_at),
            sandbox.cpu_count.to_string(),
            sandbox.memory_mb.to_string(),
            labels(sandbox),
        ]
    };
    let rows: Vec<Vec<String>> = sandboxes.iter().map(row).collect();
    let head = ["SANDBOX", "TEMPLATE", "STATE", "STARTED", "ENDS", "CPUS", "MIB", "METADATA"];
    output::line(output::table(&head, &rows, Paint::for_stdout()))?;
    Ok(())
}

fn labels(sandbox: &ListedSandbox) -> String {
    let pairs: Vec<String> =
        sandbox.metadata.iter().map(|(key, value)| printable(&format!("{key}={value}"))).collect();
    pairs.join(" ")
}

async fn info(client: &Client, id: &str, format: Format) -> anyhow::Result<()> {
    let sandbox = match client.sandbox(id).await {
        Err(error) if ended::is_gone(&error) => return ended::show(client, id, format).await,
        other => other?,
    };
    if format == Format::Json {
        output::line(serde_json::to_string(&sandbox)?)?;
        return Ok(());
    }
    for (name, value) in [
        ("Sandbox ID", sandbox.sandbox_id.clone()),
        ("Template ID", sandbox.template_id.clone()),
        ("Alias", printable(sandbox.alias.as_deref().unwrap_or_default())),
        ("State", sandbox.state.clone()),
        ("Started at", moment(&sandbox.started_at)),
        ("End at", moment(&sandbox.end_at)),
        ("vCPUs", sandbox.cpu_count.to_string()),
        ("RAM MiB", sandbox.memory_mb.to_string()),
        ("Disk MiB", sandbox.disk_size_mb.to_string()),
        ("Envd version", sandbox.envd_version.clone()),
        ("Metadata", labels(&sandbox)),
    ] {
        output::line(format_args!("{name}: {value}"))?;
    }
    Ok(())
}

/// What was done, as one JSON value or a sentence.
fn say(format: Format, value: &Value, text: &str) -> anyhow::Result<()> {
    match format {
        Format::Json => output::line(value)?,
        Format::Pretty => output::line(text)?,
    }
    Ok(())
}

/// A time as the server wrote it, for people.
fn moment(text: &str) -> String {
    text.parse().map_or_else(|_| printable(text), |at| when::with_age(at, SystemClock.now()))
}

/// Resumes a paused sandbox. One that runs is left alone: the same request would move its timeout, and never to an
/// earlier time.
async fn resume(client: &Client, id: &str, timeout: Option<u32>, format: Format) -> anyhow::Result<()> {
    let sandbox = client.sandbox(id).await?;
    if sandbox.state == "running" {
        let text = format!("Sandbox {id} is already running; it ends at {}", moment(&sandbox.end_at));
        return say(format, &json!({ "sandboxID": id, "resumed": false, "endAt": sandbox.end_at }), &text);
    }
    match timeout {
        Some(timeout) => client.connect(id, timeout).await?,
        None => client.carry_on(id).await?,
    };
    let end_at = client.sandbox(id).await?.end_at;
    let text = format!("Sandbox {id} has been resumed; it ends at {}", moment(&end_at));
    say(format, &json!({ "sandboxID": id, "resumed": true, "endAt": end_at }), &text)
}

/// Prints a sandbox's samples from `since` on, also of one that has ended; with `follow` until it no longer runs.
async fn metrics(
    client: &Client,
    id: &str,
    follow: bool,
    since: Option<i64>,
    format: Format,
) -> anyhow::Result<()> {
    // Distinguishes an unknown sandbox (error) from one without samples yet (nothing).
    match client.sandbox(id).await {
        Err(error) if ended::is_gone(&error) => ended::check_known(client, id).await?,
        other => drop(other?),
    }
    if format == Format::Pretty {
        output::line(format_args!("\nMetrics for sandbox {id}:\n"))?;
    }
    let mut last: Option<i64> = None;
    loop {
        let running = !follow || runs(client, id).await?;
        for metric in client.metrics(id, last.or(since)).await? {
            if last.is_some_and(|last| metric.timestamp_unix <= last) {
                continue;
            }
            last = Some(metric.timestamp_unix);
            match format {
                Format::Pretty => output::line(metrics_line::pretty(&metric))?,
                Format::Json => output::line(metrics_line::json(&metric)?)?,
            }
        }
        if !follow {
            return Ok(());
        }
        if !running {
            if format == Format::Pretty {
                output::line("\nStopped printing metrics — sandbox is closed")?;
            }
            return Ok(());
        }
        tokio::time::sleep(FOLLOW_EVERY).await;
    }
}

async fn runs(client: &Client, id: &str) -> anyhow::Result<bool> {
    match client.sandbox(id).await {
        Ok(sandbox) => Ok(sandbox.state == "running"),
        Err(ClientError::Refused { status: 404, .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Kills the named sandboxes, or all. One that is already gone is said and makes the exit code 1, unless all were
/// meant.
async fn kill(client: &Client, ids: Vec<String>, all: bool, format: Format) -> anyhow::Result<ExitCode> {
    let ids = if all {
        let sandboxes =
            client.sandboxes("running,paused", usize::MAX).await.context("cannot list the sandboxes")?;
        sandboxes.into_iter().map(|sandbox| sandbox.sandbox_id).collect()
    } else {
        ids
    };
    let mut code = ExitCode::SUCCESS;
    for id in ids {
        match client.kill(&id).await {
            Ok(()) => {
                let done = json!({ "sandboxID": id, "killed": true });
                say(format, &done, &format!("Sandbox {id} has been killed"))?;
            }
            Err(ClientError::Refused { status: 404, .. }) if all => {}
            Err(ClientError::Refused { status: 404, .. }) => {
                if format == Format::Json {
                    output::line(json!({ "sandboxID": id, "killed": false }))?;
                }
                output::complain(&anyhow::anyhow!(
                    "sandbox {id} was not found: it has ended, or the id is wrong"
                ));
                code = ExitCode::FAILURE;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(code)
}
