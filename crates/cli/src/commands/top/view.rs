//! The board as a picture.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row as TableRow, Sparkline, Table};
use sandscope_client::{PressureMetric, PressureMetrics, SandboxDetails, SandboxProcess, StallMetric};
use sandscope_model::MetricField;

use super::board::{Board, Row};

const MIB: u64 = 1024 * 1024;
/// Eighths of a line, the smallest first.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Seconds of a row's small curve.
const CURVE: usize = 16;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, board: &mut Board) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(3), Constraint::Length(1)])
            .areas(frame.area());
    let paint = Paint(board.colours);
    frame.render_widget(headline(board, paint), head);
    if board.close.is_some() {
        draw_close(frame, board, paint, body);
    } else {
        draw_table(frame, board, paint, body);
    }
    frame.render_widget(Paragraph::new(footline(board, paint)), foot);
    if let Some((deed, id)) = &board.confirm {
        let text = format!(" {} {id}? y / any other key ", deed.name());
        let width = u16::try_from(text.chars().count() + 2).unwrap_or(u16::MAX);
        let area = middle(frame.area(), width, 3);
        frame.render_widget(Clear, area);
        frame.render_widget(Paragraph::new(text).block(Block::bordered().style(paint.of(Color::Red))), area);
    }
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn of(self, colour: Color) -> Style {
        if self.0 { Style::new().fg(colour) } else { Style::new() }
    }

    /// Green below a tenth, yellow below four, red above.
    fn share(self, pct: f64, low: f64, high: f64) -> Style {
        self.of(if pct < low {
            Color::Green
        } else if pct < high {
            Color::Yellow
        } else {
            Color::Red
        })
    }
}

fn middle(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height }
}

fn headline(board: &Board, paint: Paint) -> Line<'static> {
    let (running, paused, cores, memory) = board.counts();
    let order = if board.reversed { "ascending" } else { "descending" };
    Line::from(vec![
        Span::styled("sandscope top", Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(format!("  {running} running, {paused} paused  {cores:.2} CPUs  {} MiB  ", memory / MIB)),
        Span::styled(format!("by {} {order}", board.sort.name()), paint.of(Color::Cyan)),
    ])
}

fn footline(board: &Board, paint: Paint) -> Line<'static> {
    if board.is_typing {
        return Line::from(format!("filter: {}▏", board.filter));
    }
    if !board.note.is_empty() {
        return Line::styled(board.note.clone(), paint.of(Color::Yellow));
    }
    let filter = if board.filter.is_empty() { String::new() } else { format!("  [{}]", board.filter) };
    let keys = if board.close.is_some() {
        "esc back  k kill  p pause/resume  q quit"
    } else {
        "↑↓ select  enter look  / filter  s sort  r reverse  k kill  p pause/resume  q quit"
    };
    Line::styled(format!("{keys}{filter}"), Style::new().add_modifier(Modifier::DIM))
}

fn draw_table(frame: &mut Frame<'_>, board: &mut Board, paint: Paint, area: Rect) {
    let position = board.position();
    board.table.select(position);
    let rows: Vec<TableRow<'_>> = board.shown().into_iter().map(|(id, row)| line(id, row, paint)).collect();
    let widths = [
        Constraint::Length(21),
        Constraint::Length(12),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Length(16),
        Constraint::Length(13),
        Constraint::Length(13),
        Constraint::Length(5),
        Constraint::Length(14),
        Constraint::Min(0),
    ];
    let head = [
        "SANDBOX",
        "TEMPLATE",
        "STATE",
        "CPU %",
        "",
        "MEMORY MiB",
        "DISK MiB",
        "PROCS",
        "STALLS c/m/i",
        "METADATA",
    ];
    let table = Table::new(rows, widths)
        .header(TableRow::new(head).style(Style::new().add_modifier(Modifier::BOLD)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .column_spacing(1);
    let mut state = std::mem::take(&mut board.table);
    frame.render_stateful_widget(table, area, &mut state);
    board.table = state;
}

fn line(id: &str, row: &Row, paint: Paint) -> TableRow<'static> {
    let state = match row.state() {
        "paused" => Cell::from("paused").style(paint.of(Color::Blue)),
        state => Cell::from(state.to_owned()),
    };
    let id = Cell::from(id.to_owned());
    let template = Cell::from(row.template().to_owned());
    let labels = Cell::from(row.labels());
    let Some(newest) = &row.newest else {
        let none = || Cell::from("");
        return TableRow::new([id, template, state, none(), none(), none(), none(), none(), none(), labels]);
    };
    let metric = &newest.metric;
    let cpu = metric.cpu_used_pct;
    TableRow::new([
        id,
        template,
        state,
        Cell::from(format!("{cpu:>6.1}")).style(paint.share(cpu, 50.0, 90.0)),
        Cell::from(curve(row)).style(paint.of(Color::Cyan)),
        Cell::from(of_total(metric.mem_used, metric.mem_total)).style(paint.share(
            percent(metric.mem_used, metric.mem_total),
            70.0,
            90.0,
        )),
        Cell::from(of_total(metric.disk_used, metric.disk_total)).style(paint.share(
            percent(metric.disk_used, metric.disk_total),
            70.0,
            90.0,
        )),
        Cell::from(
            newest.metric.more.get(MetricField::Processes).map_or_else(String::new, |n| format!("{n:>5}")),
        ),
        Cell::from(stalls(newest.pressure.as_ref(), paint)),
        labels,
    ])
}

fn curve(row: &Row) -> String {
    let skipped = row.history.len().saturating_sub(CURVE);
    row.history.iter().skip(skipped).map(|pct| bar(*pct)).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounded by clamp; no number gives 0"
)]
fn bar(pct: f64) -> char {
    let eighth = (pct / 12.5).clamp(0.0, 7.0) as usize;
    BARS.get(eighth).copied().unwrap_or('█')
}

fn percent(part: u64, whole: u64) -> f64 {
    let thousandths = u128::from(part) * 1000 / u128::from(whole.max(1));
    f64::from(u32::try_from(thousandths).unwrap_or(u32::MAX)) / 10.0
}

fn of_total(part: u64, whole: u64) -> String {
    format!("{:>5} / {:<5}", part / MIB, whole / MIB)
}

/// Share of the last ten seconds in which somebody waited: for CPU, memory, I/O.
fn stalls(pressure: Option<&PressureMetrics>, paint: Paint) -> Line<'static> {
    let Some(pressure) = pressure else { return Line::from("-") };
    let some = |metric: &Option<PressureMetric>| metric.as_ref().map(|metric| metric.some.avg10);
    let mut spans = Vec::new();
    for share in [some(&pressure.cpu), some(&pressure.memory), some(&pressure.io)] {
        spans.push(match share {
            Some(pct) => Span::styled(format!("{pct:>4.0}"), paint.share(pct, 10.0, 40.0)),
            None => Span::raw("   -"),
        });
    }
    Line::from(spans)
}

fn draw_close(frame: &mut Frame<'_>, board: &Board, paint: Paint, area: Rect) {
    let Some(close) = &board.close else { return };
    let row = board.row(&close.id);
    let [chart, text, processes] =
        Layout::vertical([Constraint::Length(7), Constraint::Length(10), Constraint::Min(3)]).areas(area);
    let data: Vec<u64> = row.iter().flat_map(|row| &row.history).map(|pct| tenths(*pct)).collect();
    let title = match row {
        Some(row) => format!(" {} {} {} {} ", close.id, row.template(), row.state(), row.labels()),
        None => format!(" {} is gone ", close.id),
    };
    let newest = row.and_then(|row| row.history.back()).copied().unwrap_or(0.0);
    let sparkline = Sparkline::default()
        .block(
            Block::bordered().title(title).title_bottom(format!(" CPU {newest:.1} % of 100, last minute ")),
        )
        .data(&data)
        .max(1000)
        .style(paint.of(Color::Cyan));
    frame.render_widget(sparkline, chart);
    let Some((details, list)) = &close.details else {
        frame.render_widget(Paragraph::new("looking …"), text);
        return;
    };
    frame.render_widget(Paragraph::new(facts(details, paint)), text);
    frame.render_widget(process_table(list), processes);
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by clamp")]
fn tenths(pct: f64) -> u64 {
    (pct * 10.0).clamp(0.0, 1000.0) as u64
}

fn facts(details: &SandboxDetails, paint: Paint) -> Vec<Line<'static>> {
    let mib =
        |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{} MiB", bytes / MIB));
    let count = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let ms = |usec: Option<u64>| usec.map_or_else(|| "-".to_owned(), |usec| format!("{} ms", usec / 1000));
    let (cpu, memory, disk) = (&details.cpu, &details.memory, &details.disk);
    let mut lines = vec![
        Line::from(format!(
            "CPU      user {}  system {}  throttled {} in {} of {} periods",
            ms(cpu.user_usec),
            ms(cpu.system_usec),
            ms(cpu.throttled_usec),
            count(cpu.throttled_periods),
            count(cpu.periods),
        )),
        Line::from(format!(
            "memory   {} of {}  peak {}  anon {}  file {}  kernel {}  swap {}  oom kills {}",
            mib(memory.current),
            mib(Some(memory.limit)),
            mib(memory.peak),
            mib(memory.anon),
            mib(memory.file),
            mib(memory.kernel),
            mib(memory.swap),
            count(memory.oom_kills),
        )),
        Line::from(format!(
            "disk     {} of {}  inodes {} of {}  read {} in {}  written {} in {}",
            mib(Some(disk.used)),
            mib(Some(disk.total)),
            disk.inodes_used,
            disk.inodes_total,
            mib(disk.read_bytes),
            count(disk.reads),
            mib(disk.written_bytes),
            count(disk.writes),
        )),
        Line::from(format!(
            "holds    {} processes of {}  {} open files",
            count(details.processes.current),
            count(details.processes.max),
            count(details.processes.open_files),
        )),
    ];
    for interface in details.network.iter().flatten().take(2) {
        lines.push(Line::from(format!(
            "{:<8} in {} KiB, {} packets, {} dropped  out {} KiB, {} packets, {} dropped",
            interface.name,
            interface.rx_bytes / 1024,
            interface.rx_packets,
            interface.rx_drops,
            interface.tx_bytes / 1024,
            interface.tx_packets,
            interface.tx_drops,
        )));
    }
    let named =
        [("cpu", &details.pressure.cpu), ("memory", &details.pressure.memory), ("io", &details.pressure.io)];
    let mut stalls = vec![Span::raw("stalls   ")];
    for (name, pressure) in named {
        stalls.push(Span::raw(format!("{name} ")));
        match pressure {
            Some(pressure) => {
                stalls.push(stall(&pressure.some, paint));
                if let Some(full) = &pressure.full {
                    stalls.push(Span::raw(" full "));
                    stalls.push(stall(full, paint));
                }
                stalls.push(Span::raw("   "));
            }
            None => stalls.push(Span::raw("-   ")),
        }
    }
    lines.push(Line::from(stalls));
    lines
}

fn stall(stall: &StallMetric, paint: Paint) -> Span<'static> {
    let text = format!("{:.1}/{:.1}/{:.1} %", stall.avg10, stall.avg60, stall.avg300);
    Span::styled(text, paint.share(stall.avg10, 10.0, 40.0))
}

fn process_table(processes: &[SandboxProcess]) -> Table<'static> {
    let row = |process: &SandboxProcess| {
        TableRow::new([
            format!("{:>7}", process.pid),
            process.state.clone(),
            format!("{:>6.1}", process.cpu_pct),
            format!("{:>8}", process.rss_bytes / 1024),
            format!("{:>4}", process.threads),
            process.command.clone(),
        ])
    };
    let widths = [
        Constraint::Length(7),
        Constraint::Length(1),
        Constraint::Length(6),
        Constraint::Length(8),
        Constraint::Length(4),
        Constraint::Min(10),
    ];
    Table::new(processes.iter().map(row).collect::<Vec<_>>(), widths).header(
        TableRow::new(["    PID", "S", "  CPU%", " RSS KiB", " THR", "COMMAND"])
            .style(Style::new().add_modifier(Modifier::BOLD)),
    )
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
