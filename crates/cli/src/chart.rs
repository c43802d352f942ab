//! `sandscope sandbox metrics -f --chart`: a sandbox's last minutes as curves, drawn again every second.
//!
//! On a terminal the picture stays where it is; elsewhere one follows the other.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::IsTerminal as _;

use sandscope_client::{Client, LiveMetric};

use sandscope_console::output;

/// Seconds drawn.
const WIDTH: usize = 72;
const LAST: u32 = 72;
/// Lines of a curve.
const HEIGHT: usize = 4;
/// Eighths of a line.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const MIB: f64 = 1024.0 * 1024.0;

/// Draws until the sandbox ends.
pub(crate) async fn run(client: &Client, id: &str) -> anyhow::Result<()> {
    let mut seconds = client.follow_metrics(id, LAST).await?;
    let stays = std::io::stdout().is_terminal();
    let mut history: VecDeque<LiveMetric> = VecDeque::new();
    let mut drawn = 0;
    while let Some(second) = seconds.next().await? {
        if history.len() == WIDTH {
            history.pop_front();
        }
        history.push_back(second);
        let picture = draw(id, &history);
        let back = if stays && drawn > 0 { format!("\u{1b}[{drawn}A\u{1b}[J") } else { String::new() };
        drawn = picture.lines().count();
        output::line(format_args!("{back}{picture}"))?;
    }
    output::line("\nStopped printing metrics — sandbox is closed")?;
    Ok(())
}

fn draw(id: &str, history: &VecDeque<LiveMetric>) -> String {
    let Some(newest) = history.back() else { return String::new() };
    let (mut text, metric) = (String::new(), &newest.metric);
    let mut part = |title: String, share: &dyn Fn(&LiveMetric) -> f64| {
        let shares: Vec<f64> = history.iter().map(share).collect();
        let _ = writeln!(text, "{title}");
        for line in curve(&shares) {
            let _ = writeln!(text, "{line}");
        }
    };
    part(format!("{id}  CPU {:.2} % of {} CPUs", metric.cpu_used_pct, metric.cpu_count), &|second| {
        second.metric.cpu_used_pct / 100.0
    });
    let of = |used: u64, total: u64| format!("{:.0} / {:.0} MiB", mib(used), mib(total));
    part(format!("Memory {}", of(metric.mem_used, metric.mem_total)), &|second| {
        mib(second.metric.mem_used) / mib(second.metric.mem_total).max(f64::MIN_POSITIVE)
    });
    part(format!("Disk {}", of(metric.disk_used, metric.disk_total)), &|second| {
        mib(second.metric.disk_used) / mib(second.metric.disk_total).max(f64::MIN_POSITIVE)
    });
    text.truncate(text.trim_end().len());
    text
}

#[expect(clippy::cast_precision_loss, reason = "drawn in eighths of a line")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

/// Shares from 0 to 1 as lines, the upper one first; a frame marks nothing and everything.
fn curve(shares: &[f64]) -> Vec<String> {
    let line = |level: usize| {
        let bar = |share: &f64| BARS[eighths(*share).saturating_sub(level * 8).min(8)];
        let bars: String = shares.iter().map(bar).collect();
        let mark = if level + 1 == HEIGHT {
            "100 ┤"
        } else if level == 0 {
            "  0 ┤"
        } else {
            "    │"
        };
        format!("{mark}{bars}")
    };
    (0..HEIGHT).rev().map(line).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounded by clamp; no number gives 0"
)]
fn eighths(share: f64) -> usize {
    (share * 32.0).round().clamp(0.0, 32.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_rise_in_eighths_and_nonsense_stays_in_the_frame() {
        let lines = curve(&[0.0, 0.03, 0.25, 0.5, 0.99, 1.0, 7.0, -1.0, f64::NAN]);
        let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        100 ┤    ███
            │    ███
            │   ████
          0 ┤ ▁█████
        ");
    }
}
