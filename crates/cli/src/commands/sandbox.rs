use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use sandscope_client::{Client, ClientError, ListedSandbox, NewSandbox};
use serde_json::json;

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
        SandboxCommand::Metrics { id, follow, format, server, .. } => {
            metrics(&commands::client(server)?, &id, follow, format.get()).await?;
        }
        SandboxCommand::Kill { ids, all, server } => return kill(&commands::client(server)?, ids, all).await,
        SandboxCommand::Pause { id, server } => {
            commands::client(server)?.pause(&id).await?;
            output::line(format_args!("Sandbox {id} has been paused"))?;
        }
        SandboxCommand::Resume { id, timeout, server } => {
            let client = commands::client(server)?;
            match timeout {
                Some(timeout) => client.connect(&id, timeout).await?,
                None => client.carry_on(&id).await?,
            };
            let end_at = client.sandbox(&id).await?.end_at;
            output::line(format_args!("Sandbox {id} runs until {end_at}"))?;
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
            sandbox.started_at.clone(),
            sandbox.end_at.clone(),
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
    let sandbox = client.sandbox(id).await?;
    if format == Format::Json {
        output::line(serde_json::to_string(&sandbox)?)?;
        return Ok(());
    }
    for (name, value) in [
        ("Sandbox ID", sandbox.sandbox_id.clone()),
        ("Template ID", sandbox.template_id.clone()),
        ("Alias", printable(sandbox.alias.as_deref().unwrap_or_default())),
        ("State", sandbox.state.clone()),
        ("Started at", sandbox.started_at.clone()),
        ("End at", sandbox.end_at.clone()),
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

/// Prints a sandbox's samples; with `follow` until it no longer runs.
async fn metrics(client: &Client, id: &str, follow: bool, format: Format) -> anyhow::Result<()> {
    // Distinguishes an unknown sandbox (error) from one without samples yet (nothing).
    client.sandbox(id).await?;
    if format == Format::Pretty {
        output::line(format_args!("\nMetrics for sandbox {id}:\n"))?;
    }
    let mut last: Option<i64> = None;
    loop {
        let running = !follow || runs(client, id).await?;
        for metric in client.metrics(id, last).await? {
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
async fn kill(client: &Client, ids: Vec<String>, all: bool) -> anyhow::Result<ExitCode> {
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
            Ok(()) => output::line(format_args!("Sandbox {id} has been killed"))?,
            Err(ClientError::Refused { status: 404, .. }) if all => {}
            Err(ClientError::Refused { status: 404, .. }) => {
                output::line(format_args!("Sandbox {id} wasn't found"))?;
                code = ExitCode::FAILURE;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(code)
}
