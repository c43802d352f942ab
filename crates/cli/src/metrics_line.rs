//! Metrics as lines: for people exactly what `e2b sandbox metrics` prints, for programs one JSON object per line.

use jiff::Timestamp;
use sandscope_client::{Metric, MoreMetrics};
use serde::Serialize;
use serde_json::Number;

const MIB: u64 = 1024 * 1024;

/// `bytes` in MiB, rounded half up.
const fn mib(bytes: u64) -> u64 {
    bytes.saturating_add(MIB / 2) / MIB
}

/// `[2025-07-28 08:04:05Z]  CPU: 20.33% /  2 Cores | Memory:    31 / 484   MiB | Disk:  1445 / 2454  MiB`
pub fn pretty(metric: &Metric) -> String {
    let Metric { cpu_used_pct, cpu_count, mem_used, mem_total, disk_used, disk_total, .. } = metric;
    format!(
        "[{}]  CPU: {:>5}% / {cpu_count:>2} Cores | Memory: {:>5} / {:<5} MiB | Disk: {:>5} / {:<5} MiB",
        second(metric),
        cpu_used_pct.to_string(),
        mib(*mem_used),
        mib(*mem_total),
        mib(*disk_used),
        mib(*disk_total),
    )
}

/// The keys and their order are the official command line's; what it does not know follows.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    timestamp: String,
    cpu_used_pct: Number,
    cpu_count: u32,
    mem_used: u64,
    mem_total: u64,
    mem_cache: u64,
    disk_used: u64,
    disk_total: u64,
    #[serde(flatten)]
    more: MoreMetrics,
}

/// One JSON object.
pub(crate) fn json(metric: &Metric) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Line {
        timestamp: millisecond(metric),
        cpu_used_pct: metric.cpu_used_pct.to_string().parse()?, // 0, not 0.0
        cpu_count: metric.cpu_count,
        mem_used: metric.mem_used,
        mem_total: metric.mem_total,
        mem_cache: metric.mem_cache,
        disk_used: metric.disk_used,
        disk_total: metric.disk_total,
        more: metric.more,
    })
}

fn second(metric: &Metric) -> String {
    moment(metric)
        .map_or_else(|| metric.timestamp.clone(), |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

fn millisecond(metric: &Metric) -> String {
    moment(metric).map_or_else(|| metric.timestamp.clone(), |at| format!("{at:.3}"))
}

fn moment(metric: &Metric) -> Option<Timestamp> {
    metric.timestamp.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(timestamp: &str, cpu: f64, cores: u32, memory: (u64, u64), disk: (u64, u64)) -> Metric {
        Metric {
            timestamp: timestamp.to_owned(),
            timestamp_unix: 0,
            cpu_used_pct: cpu,
            cpu_count: cores,
            mem_used: memory.0,
            mem_total: memory.1,
            mem_cache: 1_048_576,
            disk_used: disk.0,
            disk_total: disk.1,
            more: MoreMetrics::default(),
        }
    }

    fn recorded() -> [Metric; 4] {
        [
            metric(
                "2025-07-28T08:04:05Z",
                20.33,
                2,
                (32_681_984, 507_592_704),
                (1_514_856_448, 2_573_185_024),
            ),
            metric("2025-07-28T08:04:10.5Z", 0.0, 16, (33_316_864, 507_592_704_000), (0, 2_573_185_024)),
            metric("2025-07-28T08:04:15Z", 100.0, 2, (33_316_864, 507_592_704), (524_288, 2_573_185_024)),
            metric("2025-07-28T08:04:25Z", 7.5, 2, (2_621_440, 507_592_704), (524_287, 2_573_185_024)),
        ]
    }

    /// What the official command line (2.19.0) printed for the same answers.
    #[test]
    fn the_line_is_the_official_command_lines() {
        let lines: Vec<String> = recorded().iter().map(pretty).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        [2025-07-28 08:04:05Z]  CPU: 20.33% /  2 Cores | Memory:    31 / 484   MiB | Disk:  1445 / 2454  MiB
        [2025-07-28 08:04:10Z]  CPU:     0% / 16 Cores | Memory:    32 / 484078 MiB | Disk:     0 / 2454  MiB
        [2025-07-28 08:04:15Z]  CPU:   100% /  2 Cores | Memory:    32 / 484   MiB | Disk:     1 / 2454  MiB
        [2025-07-28 08:04:25Z]  CPU:   7.5% /  2 Cores | Memory:     3 / 484   MiB | Disk:     0 / 2454  MiB
        ");
    }

    /// As above, with `--format json`.
    #[test]
    fn the_json_is_the_official_command_lines() {
        let lines: Vec<String> = recorded().iter().take(2).map(|metric| json(metric).unwrap()).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        {"timestamp":"2025-07-28T08:04:05.000Z","cpuUsedPct":20.33,"cpuCount":2,"memUsed":32681984,"memTotal":507592704,"memCache":1048576,"diskUsed":1514856448,"diskTotal":2573185024}
        {"timestamp":"2025-07-28T08:04:10.500Z","cpuUsedPct":0,"cpuCount":16,"memUsed":33316864,"memTotal":507592704000,"memCache":1048576,"diskUsed":0,"diskTotal":2573185024}
        "#);
    }
}
