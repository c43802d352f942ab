//! Stored metrics: what a sample takes, and how long ranges of it take to be answered.
//!
//! The samples are made up, stored through the store's own writer and sealed by it, hour by hour from the newest
//! backwards, until there are as many days as asked for or the time for it is over; what there is then is said.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use http::Request;
use http_body_util::Full;
use sandscope_client::Transport;
use sandscope_model::{Clock as _, MetricField as F, Sample, Sandbox, SandboxId, Secret, Timestamp, Values};
use sandscope_store::{NewApiKey, Store};

use super::{Child, Row, fill, history, quantiles, row};
use sandscope_console::output;
use sandscope_model::keys;
use sandscope_system::{OsEntropy, SystemClock};

/// Requests for each range.
const N_REQUESTS: usize = 500;
/// Sandboxes whose hour is stored in one transaction.
const AT_ONCE: usize = 20;
const INTERVAL_S: i64 = 5;
const HOUR_S: i64 = 3600;
const MIB: u64 = 1 << 20;
const DEADLINE: Duration = Duration::from_secs(30);

/// How much is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) n_sandboxes: usize,
    pub(super) days: u32,
    /// Storing ends after this long.
    pub(super) limit: Duration,
}

struct Filled {
    ids: Vec<SandboxId>,
    /// The second after the newest sample.
    end: i64,
    n_hours: i64,
    n_samples: u64,
    sealed_bytes: u64,
    file_bytes: u64,
    took: Duration,
}

pub(super) async fn measure(wanted: Wanted) -> anyhow::Result<Vec<Row>> {
    let directory = tempfile::Builder::new().prefix("sandscope-bench-").tempdir()?;
    let key = keys::draw(&OsEntropy);
    output::line(format_args!(
        "storing {} days of {} sandboxes, for {} minutes at most …",
        wanted.days,
        wanted.n_sandboxes,
        wanted.limit.as_secs() / 60
    ))?;
    let filled = fill(&directory.path().join("data"), key.clone(), wanted).await?;
    let n = filled.n_samples.max(1) as f64;
    let days = filled.n_hours as f64 / 24.0;
    let mut rows = vec![
        row(
            "bytes per stored sample, sealed, all levels",
            format!("{:.2}", filled.sealed_bytes as f64 / n),
            format!("{} samples: {} sandboxes, {days:.1} days", filled.n_samples, filled.ids.len()),
        ),
        row(
            "  of the file",
            format!("{:.2}", filled.file_bytes as f64 / n),
            format!("{} MiB", filled.file_bytes / MIB),
        ),
        row(
            "  stored and sealed",
            format!("{:.0} /s", n / filled.took.as_secs_f64()),
            "made up: one in four busy, the others idle with a twitch",
        ),
    ];
    let server = Child::start_in(directory, key.expose()).await?;
    let transport = Transport::new(&format!("http://{}", server.address()?))?;
    for (name, hours) in [("1 h", 1), ("24 h", 24), ("7 d", 168)] {
        rows.push(range(&transport, &key, &filled, name, hours).await?);
    }
    server.stop().await?;
    Ok(rows)
}

/// Ranges that end anywhere in what is stored, of one sandbox after the other.
async fn range(
    transport: &Transport,
    key: &Secret,
    filled: &Filled,
    name: &str,
    hours: i64,
) -> anyhow::Result<Row> {
    let mut durations = Vec::with_capacity(N_REQUESTS);
    let mut n_points = 0;
    let mut noise = Noise(hours.unsigned_abs());
    for n in 0..N_REQUESTS {
        let spare = u64::try_from((filled.n_hours - hours).max(0) * HOUR_S)? + 1;
        let end = filled.end - i64::try_from(noise.next() % spare)?;
        let id = &filled.ids[n * 7 % filled.ids.len()];
        // A second less than a whole hour: its samples themselves, not steps of 30 seconds.
        let start = end - hours * HOUR_S + 1;
        let path = format!("/sandboxes/{id}/metrics?start={start}&end={end}");
        let request = Request::get(path).header("x-api-key", key.expose()).body(Full::default())?;
        let began = Instant::now();
        let reply = transport.send(request, DEADLINE).await?;
        durations.push(began.elapsed());
        ensure!(reply.status.is_success(), "{}", String::from_utf8_lossy(&reply.body));
        let points: Vec<serde_json::Value> = serde_json::from_slice(&reply.body)?;
        ensure!(!points.is_empty(), "nothing is stored of {id} before {end}");
        n_points += points.len();
    }
    Ok(row(
        format!("range of {name}"),
        quantiles::describe(&mut durations),
        format!("{N_REQUESTS} requests over HTTP, {} points each", n_points / N_REQUESTS),
    ))
}

async fn fill(directory: &Path, key: Secret, wanted: Wanted) -> anyhow::Result<Filled> {
    let store = Store::open(directory, Arc::new(SystemClock))?;
    let team = history::team();
    let team_id = team.id;
    let fresh = keys::describe(key, team_id, "bench", SystemClock.now(), &OsEntropy);
    store.facts.ensure_first_team(team, NewApiKey { key: fresh.key, hash: fresh.hash }).await?;
    let sandboxes: Vec<Sandbox> = (0..wanted.n_sandboxes.max(1)).map(|_| fill::ended(team_id)).collect();
    let admitted = sandboxes.iter().map(|sandbox| store.facts.admit_sandbox(sandbox, u32::MAX, None));
    for admission in admitted {
        admission.await?;
    }
    let ids: Vec<SandboxId> = sandboxes.into_iter().map(|sandbox| sandbox.id).collect();
    let now = SystemClock.now().as_second();
    // The hour that is still open stays open: its samples are read as rows.
    let end = now - now.rem_euclid(INTERVAL_S);
    let open_since = now - now.rem_euclid(HOUR_S);
    let began = Instant::now();
    let (mut n_samples, mut sealed) = (0, (0, 0));
    let mut n_hours = 0;
    let mut hour = (open_since, end);
    while n_hours < i64::from(wanted.days) * 24 && (n_hours == 0 || began.elapsed() < wanted.limit) {
        for (chunk, ids) in ids.chunks(AT_ONCE).enumerate() {
            let mut samples = Vec::new();
            for (n, id) in ids.iter().enumerate() {
                samples.extend(made_up(id, chunk * AT_ONCE + n, hour)?);
            }
            n_samples += samples.len() as u64;
            store.samples.insert_samples(samples).await?;
        }
        let done = store.samples.seal_samples(SystemClock.now()).await?;
        sealed = (sealed.0 + done.samples, sealed.1 + done.bytes);
        n_hours += 1;
        hour = (hour.0 - HOUR_S, hour.0);
    }
    let took = began.elapsed();
    let file_bytes = store.samples.sample_bytes().await?;
    store.close().await;
    // The open hour is in neither figure's numerator nor denominator but the file's.
    let sealed_bytes = (sealed.1 as f64 / sealed.0.max(1) as f64 * n_samples as f64) as u64;
    Ok(Filled { ids, end, n_hours, n_samples, sealed_bytes, file_bytes, took })
}

/// An hour (or its beginning) of the `n`-th sandbox.
fn made_up(id: &SandboxId, n: usize, (start, end): (i64, i64)) -> anyhow::Result<Vec<Sample>> {
    let mut noise = Noise(n as u64 ^ start.unsigned_abs());
    let is_busy = n.is_multiple_of(4);
    let mut memory = (40 + noise.next() % 60) * MIB;
    let mut disk = (100 + noise.next() % 100) * MIB;
    let mut samples = Vec::with_capacity(720);
    for at in (start..end).step_by(INTERVAL_S as usize) {
        let draw = noise.next();
        let cpu = if is_busy { draw % 10_000 } else { u64::from(draw.is_multiple_of(16)) * (draw % 300) };
        if is_busy || draw.is_multiple_of(32) {
            memory = (memory + draw % MIB).min(500 * MIB) & !4095;
            disk = (disk + draw % (MIB / 4)).min(2000 * MIB) & !4095;
        }
        samples.push(Sample {
            sandbox_id: id.clone(),
            // A round never begins on the very second.
            at: Timestamp::from_microsecond(at * 1_000_000 + 1000 * (1 + (draw % 8) as i64))?,
            values: further(&mut noise, is_busy, cpu)
                .with(F::CpuUsed, cpu)
                .with(F::CpuCount, 2)
                .with(F::MemUsed, memory)
                .with(F::MemTotal, 512 * MIB)
                .with(F::MemCache, memory / 4)
                .with(F::DiskUsed, disk)
                .with(F::DiskTotal, 2408 * MIB),
        });
    }
    Ok(samples)
}

/// What the kernel reports beside the first seven fields. A busy sandbox waits for CPU as it uses it; its network and
/// disk come in bursts, as files are written back and answers arrive. An idle one does next to nothing.
fn further(noise: &mut Noise, is_busy: bool, cpu: u64) -> Values {
    let mut up_to = |most: u64| if is_busy { noise.next() % most.max(1) } else { 0 };
    let (writes_back, talks, reads) = (up_to(6) == 1, up_to(4) == 1, up_to(16) == 1);
    let mut burst = |happens: bool, most: u64| if happens { up_to(most) } else { 0 };
    let (reads, writes) = (burst(reads, 40), burst(writes_back, 200));
    let (received, sent) = (burst(talks, 400), burst(talks, 400));
    let waits = cpu / 10;
    Values::NONE
        .with(F::Interval, 4_998 + burst(is_busy, 5))
        .with(F::CpuStalled, waits + burst(is_busy, 50))
        .with(F::CpuStalledFull, waits / 2)
        .with(F::MemStalled, 0)
        .with(F::MemStalledFull, 0)
        .with(F::IoStalled, burst(writes > 0, 30))
        .with(F::IoStalledFull, burst(reads > 0, 10))
        .with(F::CpuThrottled, if cpu > 9_000 { cpu } else { 0 })
        .with(F::DiskReads, reads)
        .with(F::DiskWrites, writes)
        .with(F::DiskRead, reads * 16_384)
        .with(F::DiskWritten, writes * 4_096)
        .with(F::NetReceivedPackets, received)
        .with(F::NetSentPackets, sent)
        .with(F::NetReceived, received * 700)
        .with(F::NetSent, sent * 90)
        .with(F::Processes, 3 + burst(talks, 4))
        .with(F::OpenFiles, 24 + burst(talks, 16))
        .with(F::OomKills, 0)
}

/// Numbers without an obvious pattern, the same every time (a step of splitmix64).
struct Noise(u64);

impl Noise {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
