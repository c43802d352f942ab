//! What monitoring costs: CPU of sampling idle sandboxes, as shipped (every second into memory, every fifth stored) and
//! with every second stored; and the scrape of them all. The sandboxes are whole ones.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use http::Request;
use http_body_util::Full;
use sandscope_client::{NewSandbox, Transport};

use super::{Child, Row, processes, quantiles, row};
use sandscope_console::output;

/// How long CPU time is watched.
const WATCH: Duration = Duration::from_secs(20);
const SETTLE: Duration = Duration::from_secs(3);
const N_SCRAPES: usize = 20;
/// Numbers of sandboxes that are looked at, as far as as many are wanted.
const STEPS: [usize; 3] = [100, 500, 1000];

pub(super) async fn measure(n: usize) -> anyhow::Result<Vec<Row>> {
    let mut steps: Vec<usize> = STEPS.into_iter().filter(|step| *step < n).collect();
    steps.push(n.max(1));
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let operator = format!("127.0.0.1:{port}");
    let stored_every = |seconds: &str| {
        let shown = steps[steps.len() - 1].min(1000).to_string();
        let settings = ["--operator-listen", &operator, "--metrics-top-sandboxes", &shown];
        let settings = settings.into_iter().chain(["--metrics-interval-s", seconds]);
        settings.map(str::to_owned).collect::<Vec<_>>()
    };
    let transport = Transport::new(&format!("http://{operator}"))?;
    let mut server = Child::start_with(&stored_every("5")).await?;
    let outcome = all(&mut server, &transport, &steps, &stored_every("1")).await;
    server.stop().await?;
    outcome
}

async fn all(
    server: &mut Child,
    operator: &Transport,
    steps: &[usize],
    every_second: &[String],
) -> anyhow::Result<Vec<Row>> {
    let wanted = NewSandbox { template_id: "base".to_owned(), timeout: Some(3600), ..NewSandbox::default() };
    let mut rows = Vec::new();
    let mut ids = Vec::new();
    tokio::time::sleep(SETTLE).await;
    let nothing = watch(server, operator).await?;
    for step in steps {
        output::line(format_args!("{step} sandboxes …"))?;
        while ids.len() < *step {
            ids.push(server.client().create_sandbox(&wanted).await?.sandbox_id);
        }
        tokio::time::sleep(SETTLE).await;
        rows.push(watch(server, operator).await?.row(*step, "every second, every fifth stored", nothing));
    }
    rows.push(scrape(operator, ids.len()).await?);
    // The sandboxes live on.
    server.restart(every_second).await?;
    for step in steps.iter().rev() {
        for id in ids.drain(*step..) {
            server.client().kill(&id).await?;
        }
        tokio::time::sleep(SETTLE).await;
        rows.push(watch(server, operator).await?.row(*step, "every second, all stored", nothing));
    }
    Ok(rows)
}

/// Shares of one CPU.
#[derive(Clone, Copy)]
struct Cost {
    server: f64,
    sampler: f64,
}

impl Cost {
    fn row(self, n: usize, how: &str, nothing: Self) -> Row {
        let percent = 100.0 * (self.server - nothing.server).max(0.0);
        let rounds = 100.0 * self.sampler;
        // Each is read once a second.
        let each = 1_000_000.0 * self.sampler / n as f64;
        row(
            format!("sampling {n} idle sandboxes, {how}"),
            format!("{percent:.2} % of one CPU"),
            format!(
                "of the whole server, beyond none; reading took {rounds:.2} % of the time, {each:.0} µs a sandbox"
            ),
        )
    }
}

async fn watch(server: &Child, operator: &Transport) -> anyhow::Result<Cost> {
    let pid = server.pid()?;
    let read = async || {
        let text = figures(operator).await?;
        let name = "sandscope_sampler_busy_seconds_total ";
        let busy = text.lines().find_map(|line| line.strip_prefix(name)).context("no such figure")?;
        let cpu = processes::cpu_time(pid).context("the server has ended")?;
        anyhow::Ok((cpu, busy.parse::<f64>()?))
    };
    let began = Instant::now();
    let before = read().await?;
    tokio::time::sleep(WATCH).await;
    let after = read().await?;
    let span = began.elapsed().as_secs_f64();
    let server = after.0.saturating_sub(before.0).as_secs_f64() / span;
    Ok(Cost { server, sampler: (after.1 - before.1) / span })
}

async fn figures(operator: &Transport) -> anyhow::Result<String> {
    let request = Request::get("/metrics").body(Full::default())?;
    let reply = operator.send(request, Duration::from_secs(30)).await?;
    ensure!(reply.status.is_success(), "the operator's port answered {}", reply.status);
    Ok(String::from_utf8(reply.body.to_vec())?)
}

async fn scrape(operator: &Transport, n: usize) -> anyhow::Result<Row> {
    let mut durations = Vec::with_capacity(N_SCRAPES);
    let mut text = String::new();
    for _ in 0..N_SCRAPES {
        let began = Instant::now();
        text = figures(operator).await?;
        durations.push(began.elapsed());
    }
    let n_told = text.lines().filter(|line| line.starts_with("sandscope_sandbox_cpu_used_cores{")).count();
    Ok(row(
        format!("scrape of {n} sandboxes"),
        quantiles::describe(&mut durations),
        format!("{} KiB, {n_told} of them with series of their own", text.len() / 1024),
    ))
}
