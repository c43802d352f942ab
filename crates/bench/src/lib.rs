//! `sandscope bench`: figures of this machine, printed and never asserted.
//!
//! Each figure runs against the real binary as a child process with a temporary data directory, asked over HTTP as a
//! user would. What else the machine was doing is printed with the figures, as it decides what they mean.

mod accuracy;
mod arguments;
mod child;
mod create;
mod edge;
mod fill;
mod history;
mod idle;
mod plain;
mod processes;
mod quantiles;
mod row;
mod sampling;
mod sink;
mod stored;
mod streams;
mod transfer;
mod webhook;
mod webhooks;
mod wire;

use std::process::ExitCode;
use std::time::Duration;

use sandscope_console::output::{self, Paint};

pub use arguments::BenchArgs;
pub use fill::fill_log;

use arguments::Figure;
pub(crate) use child::Child;
pub(crate) use row::{Row, row};

/// Runs the figures asked for, or all.
///
/// # Errors
/// If a figure that was asked for cannot be measured.
pub async fn run(args: BenchArgs) -> anyhow::Result<ExitCode> {
    let wanted = |figure| args.figures.is_empty() || args.figures.contains(&figure);
    sandscope_telemetry::init("warn", sandscope_telemetry::LogFormat::Auto)?;
    output::line(machine())?;
    let mut rows: Vec<Row> = Vec::new();
    if wanted(Figure::Create) {
        rows.extend(create::measure(args.creates).await?);
    }
    if wanted(Figure::Memory) || wanted(Figure::Sampler) {
        rows.extend(idle::measure(args.idle, wanted(Figure::Memory), wanted(Figure::Sampler)).await?);
    }
    if wanted(Figure::Webhook) {
        rows.extend(webhook::measure().await?);
    }
    if wanted(Figure::Edge) {
        rows.extend(edge::measure(args.mib).await?);
    }
    if wanted(Figure::Webhooks) {
        rows.extend(webhooks::measure(args.deliveries).await?);
    }
    if wanted(Figure::History) {
        rows.extend(history::measure(args.events).await?);
    }
    if wanted(Figure::Top) {
        rows.push(redraw()?);
    }
    if wanted(Figure::Streams) {
        rows.extend(streams::measure(args.readers).await?);
    }
    // Not among all: they take a quarter of an hour and more.
    if args.figures.contains(&Figure::Metrics) {
        let limit = Duration::from_secs(60 * args.fill_minutes);
        let wanted = stored::Wanted { n_sandboxes: args.stored, days: args.days, limit };
        rows.extend(stored::measure(wanted).await?);
    }
    if args.figures.contains(&Figure::Monitoring) {
        rows.extend(sampling::measure(args.idle).await?);
    }
    // Not among all: it takes two minutes and stress-ng.
    if args.figures.contains(&Figure::Accuracy) {
        rows.extend(accuracy::measure().await?);
    }
    output::line(output::table(&["FIGURE", "VALUE", "REMARK"], &rows, Paint::for_stdout()))?;
    output::line(machine())?;
    Ok(ExitCode::SUCCESS)
}

/// What a second of `sandscope top` costs.
fn redraw() -> anyhow::Result<Row> {
    let mut drawn = sandscope_cli::redraw(100, 300)?;
    let each = drawn.n_bytes / drawn.durations.len().max(1) as u64;
    Ok(row(
        "a second of `top` with 100 busy sandboxes",
        quantiles::describe(&mut drawn.durations),
        format!("taken in, drawn and written, 160 × 50; {each} bytes to the terminal"),
    ))
}

/// What the machine is, and how busy.
fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(3).collect();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let build = if cfg!(debug_assertions) {
        "debug build: use --release for figures that mean something"
    } else {
        "release build"
    };
    format!("{cpus} CPUs, Linux {}, load {}; {build}", kernel.trim(), load.join(" "))
}
