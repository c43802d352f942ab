//! `sandscope node`: the machine, for operators.

use std::process::ExitCode;

use anyhow::Context as _;
use sandscope_client::{NodeView, PressureMetrics};

use sandscope_model::{Clock as _, Timestamp, when};
use sandscope_system::SystemClock;

use crate::arguments::{Format, NodeArgs};
use sandscope_console::output::{self, Paint};

/// Shows it.
pub(crate) async fn run(arguments: NodeArgs) -> anyhow::Result<ExitCode> {
    let NodeArgs { admin_token, format, mut server } = arguments;
    let token = admin_token.context(
        "no admin token: set SANDSCOPE_ADMIN_TOKEN to what the server was started with (`[server] admin_token`)",
    )?;
    // It is not what is asked with here.
    server.api_key.get_or_insert_default();
    for node in super::client(server)?.nodes(&token).await? {
        match format.get() {
            Format::Pretty => output::line(describe(&node, Paint::for_stdout()))?,
            Format::Json => output::line(serde_json::to_string(&node)?)?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(node: &NodeView, paint: Paint) -> String {
    let (metrics, extra) = (&node.metrics, &node.sandscope);
    let count = &extra.sandboxes;
    let row = |what: &str, text: String| vec![what.to_owned(), output::printable(&text)];
    let load =
        extra.load.map_or_else(|| "unknown".to_owned(), |load| load.map(|n| format!("{n:.2}")).join(" "));
    let mut rows = vec![
        row("version", node.version.clone()),
        row("status", format!("{} since {}", node.status, at(node.status_changed_at))),
        row(
            "sandboxes",
            format!("{} running, {} paused, {} changing", count.running, count.paused, count.changing),
        ),
        row(
            "made",
            format!(
                "{} since the start, {} failed, {} under way",
                node.create_successes, node.create_fails, node.sandbox_starting_count
            ),
        ),
        row(
            "cpu",
            format!(
                "{} % of {} in use; sandboxes: {:.2} of {} given",
                metrics.cpu_percent, metrics.cpu_count, extra.used.cpu_cores, metrics.allocated_cpu
            ),
        ),
        row(
            "memory",
            format!(
                "{} of {} MiB in use; sandboxes: {} of {} MiB given",
                metrics.memory_used_bytes >> 20,
                metrics.memory_total_bytes >> 20,
                extra.used.memory_bytes >> 20,
                metrics.allocated_memory_bytes >> 20
            ),
        ),
    ];
    for disk in &metrics.disks {
        let text = format!(
            "{} of {} MiB in use on {} ({}); sandboxes: {} of {} MiB given",
            disk.used_bytes >> 20,
            disk.total_bytes >> 20,
            disk.mount_point,
            disk.filesystem_type,
            extra.used.disk_bytes >> 20,
            extra.allocated_disk_bytes >> 20
        );
        rows.push(row("disk", text));
    }
    rows.push(row("load", load));
    rows.push(row("waiting", waiting(&extra.pressure)));
    let reconciler = &extra.reconciler;
    let last = reconciler.last_at.map_or_else(|| "not yet".to_owned(), at);
    rows.push(row(
        "reconciler",
        format!(
            "last {last}; {} rounds, {} failed, {} open, {} settled",
            reconciler.rounds, reconciler.failed_rounds, reconciler.open, reconciler.settled
        ),
    ));
    rows.extend(reconciler.problems.iter().map(|problem| row("problem", problem.clone())));
    output::table(&["NODE", &node.id], &rows, paint)
}

/// A time for people.
fn at(at: Timestamp) -> String {
    when::with_age(at, SystemClock.now())
}

/// The share of the last minute in which something waited.
fn waiting(pressure: &PressureMetrics) -> String {
    let parts = [("cpu", &pressure.cpu), ("memory", &pressure.memory), ("io", &pressure.io)];
    let shown = parts.into_iter().filter_map(|(what, metric)| {
        metric.as_ref().map(|metric| format!("{what} {:.1} %", metric.some.avg60))
    });
    let shown: Vec<_> = shown.collect();
    if shown.is_empty() {
        "the kernel does not say".to_owned()
    } else {
        shown.join(", ") + " of the last minute"
    }
}
