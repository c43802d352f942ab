use std::time::{Duration, Instant};

use sandscope_client::NewSandbox;

use super::{Child, Row, processes, row};

/// How long CPU time is watched.
const WATCH: Duration = Duration::from_secs(30);

/// How long the server is left alone before it is measured.
const SETTLE: Duration = Duration::from_secs(3);

/// Memory the server takes by itself and per idle sandbox; CPU it takes to sample them.
pub(super) async fn measure(n: usize, memory: bool, sampler: bool) -> anyhow::Result<Vec<Row>> {
    let server = Child::start().await?;
    let pid = server.pid()?;
    // One create, so that what is set up once is not counted as the sandboxes'.
    let wanted = NewSandbox { template_id: "base".to_owned(), timeout: Some(3600), ..NewSandbox::default() };
    let first = server.client().create_sandbox(&wanted).await?;
    server.client().kill(&first.sandbox_id).await?;
    tokio::time::sleep(SETTLE).await;
    let rss = processes::rss(pid).unwrap_or(0);
    let before = processes::pss(&processes::belonging_to(pid, &[]));
    let idle_cpu = if sampler { watch(pid).await } else { Duration::ZERO };

    let mut ids = Vec::with_capacity(n);
    for _ in 0..n {
        ids.push(server.client().create_sandbox(&wanted).await?.sandbox_id);
    }
    tokio::time::sleep(SETTLE).await;
    let mut rows = Vec::new();
    if memory {
        let ours = processes::belonging_to(pid, &ids);
        let after = processes::pss(&ours);
        let each = after.saturating_sub(before) / (n.max(1) as u64);
        rows.push(row("server, idle, resident memory", mib(rss), "after one create and kill"));
        rows.push(row(
            "memory per idle sandbox",
            mib(each),
            format!(
                "{n} sandboxes, {} processes: agents, their parents and the server (PSS; the kernel's own not counted)",
                ours.len()
            ),
        ));
    }
    if sampler {
        let busy = watch(pid).await.saturating_sub(idle_cpu);
        let percent = 100.0 * busy.as_secs_f64() / WATCH.as_secs_f64();
        rows.push(row(
            format!("sampling {n} idle sandboxes"),
            format!("{percent:.2} % of one CPU"),
            format!(
                "{:.2} % at 500, in proportion; 10 ms ticks over {} s",
                percent * 500.0 / n as f64,
                WATCH.as_secs()
            ),
        ));
    }
    server.stop().await?;
    Ok(rows)
}

/// CPU time `pid` uses over [`WATCH`].
async fn watch(pid: u32) -> Duration {
    let (began, before) = (Instant::now(), processes::cpu_time(pid));
    tokio::time::sleep(WATCH).await;
    let used = processes::cpu_time(pid).zip(before).map_or(Duration::ZERO, |(after, before)| after - before);
    used.mul_f64(WATCH.as_secs_f64() / began.elapsed().as_secs_f64())
}

fn mib(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / (1024.0 * 1024.0))
}
