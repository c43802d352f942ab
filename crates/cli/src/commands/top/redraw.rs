//! What a picture of the screen costs, for `sandscope bench top`: the same board and view, onto a terminal that counts.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use sandscope_client::{ListedSandbox, LiveTeam};
use serde_json::json;

use super::board::Board;
use super::news::News;
use super::view;

const WIDTH: u16 = 160;
const HEIGHT: u16 = 50;
const MIB: u64 = 1 << 20;

/// Pictures drawn one after the other.
pub struct Redraws {
    /// From a second's news to the last byte of its picture.
    pub durations: Vec<Duration>,
    /// What all of them sent to the terminal.
    pub n_bytes: u64,
}

struct Counting(u64);

impl Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// `n` seconds of `n_sandboxes`, each of which is busy differently every second.
///
/// # Errors
/// If the board cannot be drawn.
pub fn redraw(n_sandboxes: u32, n: u32) -> anyhow::Result<Redraws> {
    let options = TerminalOptions { viewport: Viewport::Fixed(Rect::new(0, 0, WIDTH, HEIGHT)) };
    let mut counting = Counting(0);
    let mut durations = Vec::new();
    {
        let mut terminal = Terminal::with_options(CrosstermBackend::new(&mut counting), options)?;
        let mut board = Board::new(true);
        board.list((0..n_sandboxes).map(listed).collect::<Result<_, _>>()?);
        for second in 0..n {
            let news = seconds(i64::from(second), n_sandboxes)?;
            let began = Instant::now();
            board.receive(news);
            terminal.draw(|frame| view::draw(frame, &mut board))?;
            durations.push(began.elapsed());
        }
    }
    Ok(Redraws { durations, n_bytes: counting.0 })
}

fn listed(n: u32) -> serde_json::Result<ListedSandbox> {
    serde_json::from_value(json!({
        "sandboxID": format!("i{n:020}"), "templateID": "t", "alias": "base",
        "startedAt": "2026-01-01T00:00:00Z", "endAt": "2026-01-01T01:00:00Z",
        "cpuCount": 2, "memoryMB": 512, "diskSizeMB": 1024, "state": "running", "envdVersion": "0",
        "metadata": {"n": n.to_string()},
    }))
}

fn seconds(at: i64, n_sandboxes: u32) -> serde_json::Result<News> {
    let mut sandboxes = BTreeMap::new();
    for n in 0..n_sandboxes {
        let busy = f64::from((n * 37 + u32::try_from(at).unwrap_or(0) * 17) % 1000) / 10.0;
        let stall = |share: f64| json!({"avg10": share, "avg60": 0.0, "avg300": 0.0, "totalUsec": 1});
        let metric = json!({
            "timestamp": "2026-01-01T00:00:00Z", "timestampUnix": at, "cpuCount": 2, "cpuUsedPct": busy,
            "memUsed": u64::from(n % 12) * 40 * MIB, "memTotal": 512 * MIB, "memCache": 0,
            "diskUsed": 10 * MIB, "diskTotal": 1024 * MIB, "processes": n, "oomKills": 0,
            "pressure": {
                "cpu": {"some": stall(busy / 2.0), "full": null},
                "memory": {"some": stall(0.0), "full": stall(0.0)},
                "io": {"some": stall(1.0), "full": stall(0.0)},
            },
        });
        sandboxes.insert(format!("i{n:020}"), serde_json::from_value(metric)?);
    }
    Ok(News::Seconds(LiveTeam { timestamp_unix: at, sandboxes }))
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_second_is_a_picture() {
        let drawn = super::redraw(100, 3).unwrap();
        assert_eq!(drawn.durations.len(), 3);
        assert!(drawn.n_bytes > 3000, "{}", drawn.n_bytes);
    }
}
