//! The board as a picture.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Row as TableRow, Sparkline, Table, Wrap};
use sandscope_client::{SandboxDetails, SandboxProcess, StallMetric};
use sandscope_model::when;

use super::board::Board;
use super::paint::{MIB, Paint, middle};
use super::row::Row;
use super::{help, table};

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
        table::draw(frame, board, paint, body);
    }
    frame.render_widget(Paragraph::new(footline(board, paint, foot.width)), foot);
    if let Some((deed, id)) = &board.confirm {
        let text = format!(" {} {id}? y / any other key ", deed.name());
        let width = u16::try_from(text.chars().count() + 2).unwrap_or(u16::MAX);
        let area = middle(frame.area(), width, 3);
        frame.render_widget(Clear, area);
        frame.render_widget(Paragraph::new(text).block(Block::bordered().style(paint.of(Color::Red))), area);
    }
    if board.has_help {
        help::draw(frame);
    }
}

fn headline(board: &Board, paint: Paint) -> Line<'static> {
    let (running, paused, cores, memory) = board.counts();
    let order = if board.reversed { "↑" } else { "↓" };
    let n_alerts = board.n_alerts();
    let alerts = match n_alerts {
        0 => Span::raw(String::new()),
        1 => Span::styled("1 alert  ", paint.of(Color::Red)),
        n => Span::styled(format!("{n} alerts  "), paint.of(Color::Red)),
    };
    Line::from(vec![
        Span::styled("sandscope top", Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(format!("  {running} running, {paused} paused  {cores:.2} CPUs  {} MiB  ", memory / MIB)),
        alerts,
        Span::styled(format!("by {} {order}", board.sort.name()), paint.of(Color::Cyan)),
    ])
}

fn footline(board: &Board, paint: Paint, width: u16) -> Line<'static> {
    if board.is_typing {
        return Line::from(format!("filter: {}▏", board.filter));
    }
    if !board.note.is_empty() {
        return Line::styled(board.note.clone(), paint.of(Color::Yellow));
    }
    let filter = if board.filter.is_empty() { String::new() } else { format!("  [{}]", board.filter) };
    let close = ["esc back  k kill  p pause/resume  ? help  q quit"];
    let all = [
        "↑↓ select  enter look  / filter  s sort  r reverse  k kill  p pause/resume  ? help  q quit",
        "enter look  / filter  s sort  k kill  p pause/resume  ? help  q quit",
        "? help  q quit",
    ];
    let forms: &[&str] = if board.close.is_some() { &close } else { &all };
    let fits = |keys: &&&str| keys.chars().count() + filter.chars().count() <= usize::from(width);
    // The last is shown whatever the width.
    let keys = forms.iter().find(fits).or(forms.last()).copied().unwrap_or_default();
    Line::styled(format!("{keys}{filter}"), Style::new().add_modifier(Modifier::DIM))
}

fn draw_close(frame: &mut Frame<'_>, board: &Board, paint: Paint, area: Rect) {
    let Some(close) = &board.close else { return };
    let row = board.row(&close.id);
    // A narrow screen breaks lines, a low one has less room for the curve.
    let n_lines = if area.width < 120 { 13 } else { 10 };
    let n_chart = if area.height < 30 { 5 } else { 7 };
    let [chart, text, processes] =
        Layout::vertical([Constraint::Length(n_chart), Constraint::Length(n_lines), Constraint::Min(3)])
            .areas(area);
    let data: Vec<u64> = row.iter().flat_map(|row| &row.history).map(|pct| tenths(*pct)).collect();
    let title = match row {
        Some(row) => format!(" {} {} {} {} ", close.id, row.template(), row.state(), row.labels()),
        None => format!(" {} is gone: `sandscope sandbox info {0}` says why ", close.id),
    };
    let scale = table::scale(row.iter().flat_map(|row| &row.history));
    let newest = row.and_then(|row| row.history.back()).copied().unwrap_or(0.0);
    let sparkline = Sparkline::default()
        .block(
            Block::bordered()
                .title(title)
                .title_bottom(format!(" CPU {newest:.1} %, last minute, full height {scale:.0} % "))
                .title_bottom(Line::from(times(row, board.now())).right_aligned()),
        )
        .data(&data)
        .max(tenths(scale))
        .style(paint.of(Color::Cyan));
    frame.render_widget(sparkline, chart);
    let Some((details, list)) = &close.details else {
        frame.render_widget(Paragraph::new("looking …"), text);
        return;
    };
    let mut lines = facts(details, paint);
    let alerts = board.alerts_of(&close.id);
    if !alerts.is_empty() {
        lines.insert(0, Line::styled(format!("alerts   {}", alerts.join(", ")), paint.of(Color::Red)));
    }
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), text);
    frame.render_widget(process_table(list), processes);
}

/// How old it is, and how long it has.
fn times(row: Option<&Row>, now: i64) -> String {
    let Some(row) = row else { return String::new() };
    let length = |seconds: i64| when::length(jiff::SignedDuration::from_secs(seconds.max(0)));
    let age = row.age_s(now).map(|age| format!(" age {} ", length(age)));
    let left = row.left_s(now).map(|left| format!(" {} left ", length(left)));
    age.into_iter().chain(left).collect()
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
