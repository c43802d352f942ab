//! The table of all sandboxes: which columns fit, and what is in them.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Row as TableRow, Table};
use sandscope_client::{PressureMetric, PressureMetrics};
use sandscope_model::{MetricField, when};

use super::board::Board;
use super::paint::{MIB, Paint};
use super::row::Row;

/// Eighths of a line, the smallest first.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns that a small curve takes at the least, and at the most.
const CURVE: (u16, u16) = (8, 30);
/// As above, of labels; they take whatever is left.
const LABELS: u16 = 16;
/// The full height of a curve is at least this many percent: what idles looks idle.
const LEAST_SCALE: f64 = 10.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Id,
    Template,
    State,
    Cpu,
    Curve,
    Memory,
    Disk,
    Age,
    Left,
    Processes,
    Stalls,
    Labels,
}

impl Column {
    /// In the order on the screen.
    const ALL: [Self; 12] = [
        Self::Id,
        Self::State,
        Self::Cpu,
        Self::Curve,
        Self::Memory,
        Self::Disk,
        Self::Age,
        Self::Left,
        Self::Processes,
        Self::Stalls,
        Self::Template,
        Self::Labels,
    ];

    /// In the order of use: what a narrow screen drops first comes last.
    const BY_USE: [Self; 12] = [
        Self::Id,
        Self::State,
        Self::Cpu,
        Self::Memory,
        Self::Left,
        Self::Age,
        Self::Template,
        Self::Disk,
        Self::Curve,
        Self::Labels,
        Self::Processes,
        Self::Stalls,
    ];

    const fn head(self) -> &'static str {
        match self {
            Self::Id => "SANDBOX",
            Self::Template => "TEMPLATE",
            Self::State => "STATE",
            Self::Cpu => "CPU %",
            Self::Curve => "",
            Self::Memory => "MEMORY MiB",
            Self::Disk => "DISK MiB",
            Self::Age => "AGE",
            Self::Left => "LEFT",
            Self::Processes => "PROCS",
            Self::Stalls => "STALLS c/m/i",
            Self::Labels => "METADATA",
        }
    }

    /// Its width at the least. An id is never cut: it is what commands take.
    const fn width(self) -> u16 {
        match self {
            Self::Id => 21,
            Self::Template => 12,
            Self::State => 8,
            Self::Cpu => 6,
            Self::Curve => CURVE.0,
            Self::Memory | Self::Disk => 13,
            Self::Age | Self::Left => 7,
            Self::Processes => 5,
            Self::Stalls => 14,
            Self::Labels => LABELS,
        }
    }
}

/// The columns that fit into `width`, in their order, each with its width.
pub(super) fn columns(width: u16) -> Vec<(Column, u16)> {
    let mut left = width + 1;
    let mut fit = Vec::new();
    for column in Column::BY_USE {
        let needed = column.width() + 1;
        if needed > left && !fit.is_empty() {
            break;
        }
        left = left.saturating_sub(needed);
        fit.push(column);
    }
    let has = |column| fit.contains(&column);
    let curve = if has(Column::Curve) { CURVE.0 + (left / 2).min(CURVE.1 - CURVE.0) } else { 0 };
    let rest = left - curve.saturating_sub(CURVE.0);
    let of = |column: Column| match column {
        Column::Curve => curve,
        Column::Labels => LABELS + rest,
        // Without labels nothing else is worth the room.
        other => other.width(),
    };
    Column::ALL.into_iter().filter(|column| has(*column)).map(|column| (column, of(column))).collect()
}

pub(super) fn draw(frame: &mut Frame<'_>, board: &mut Board, paint: Paint, area: Rect) {
    let position = board.position();
    board.table.select(position);
    let columns = columns(area.width);
    let rows: Vec<TableRow<'_>> =
        board.shown().into_iter().map(|(id, row)| line(id, row, board, &columns, paint)).collect();
    let widths = columns.iter().map(|(_, width)| Constraint::Length(*width));
    let head = columns.iter().map(|(column, _)| column.head());
    let table = Table::new(rows, widths)
        .header(TableRow::new(head).style(Style::new().add_modifier(Modifier::BOLD)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .column_spacing(1);
    let mut state = std::mem::take(&mut board.table);
    frame.render_stateful_widget(table, area, &mut state);
    board.table = state;
}

fn line(id: &str, row: &Row, board: &Board, columns: &[(Column, u16)], paint: Paint) -> TableRow<'static> {
    TableRow::new(columns.iter().map(|(column, width)| cell(id, row, board, (*column, *width), paint)))
}

fn cell(id: &str, row: &Row, board: &Board, (column, width): (Column, u16), paint: Paint) -> Cell<'static> {
    let text = |text: String| Cell::from(text);
    let seconds = |seconds: Option<i64>| {
        let length = seconds.map(|seconds| when::length(jiff::SignedDuration::from_secs(seconds.max(0))));
        text(length.unwrap_or_default())
    };
    match column {
        Column::Id => return text(id.to_owned()),
        Column::Template => return text(row.template().to_owned()),
        Column::Labels => return text(row.labels()),
        Column::State => {
            let n_alerts = board.alerts_of(id).len();
            if n_alerts > 0 {
                return text(format!("{}!", row.state())).style(paint.of(Color::Red));
            }
            let style = if row.state() == "paused" { paint.of(Color::Blue) } else { Style::new() };
            return text(row.state().to_owned()).style(style);
        }
        Column::Age => return seconds(row.age_s(board.now())),
        Column::Left => return seconds(row.left_s(board.now())),
        _ => {}
    }
    let Some(newest) = &row.newest else { return text(String::new()) };
    let metric = &newest.metric;
    let of_total = |used: u64, total: u64| {
        text(of_total(used, total)).style(paint.share(percent(used, total), 70.0, 90.0))
    };
    match column {
        Column::Cpu => {
            text(format!("{:>6.1}", metric.cpu_used_pct)).style(paint.share(metric.cpu_used_pct, 50.0, 90.0))
        }
        Column::Curve => text(curve(row, width)).style(paint.of(Color::Cyan)),
        Column::Memory => of_total(metric.mem_used, metric.mem_total),
        Column::Disk => of_total(metric.disk_used, metric.disk_total),
        Column::Processes => {
            text(metric.more.get(MetricField::Processes).map_or_else(String::new, |n| format!("{n:>5}")))
        }
        _ => Cell::from(stalls(newest.pressure.as_ref(), paint)),
    }
}

/// The last seconds, as high as the busiest of them.
fn curve(row: &Row, width: u16) -> String {
    let skipped = row.history.len().saturating_sub(width.into());
    let shown = || row.history.iter().skip(skipped);
    let scale = scale(shown());
    shown().map(|pct| bar(pct / scale)).collect()
}

/// What the full height of a curve means, in percent.
pub(super) fn scale<'a>(history: impl Iterator<Item = &'a f64>) -> f64 {
    history.copied().fold(LEAST_SCALE, f64::max)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounded by clamp; no number gives 0"
)]
fn bar(part: f64) -> char {
    let eighth = (part * 8.0).clamp(0.0, 7.0) as usize;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_screen_drops_what_is_used_least_and_cuts_no_id() {
        let names = |width: u16| columns(width).into_iter().map(|(column, _)| column).collect::<Vec<_>>();
        assert_eq!(
            names(80),
            [
                Column::Id,
                Column::State,
                Column::Cpu,
                Column::Memory,
                Column::Age,
                Column::Left,
                Column::Template
            ]
        );
        assert!(names(120).contains(&Column::Labels) && names(120).contains(&Column::Curve));
        assert_eq!(names(180).len(), Column::ALL.len());
        assert_eq!(names(5), [Column::Id]);
        let mut before = 0;
        for width in 21..400 {
            let columns = columns(width);
            let taken: u16 = columns.iter().map(|(_, width)| width + 1).sum::<u16>() - 1;
            assert!(taken <= width, "{width}: {columns:?}");
            assert!(columns.iter().all(|(column, width)| *width >= column.width()), "{columns:?}");
            assert!(columns.len() >= before, "a wider screen shows no less");
            before = columns.len();
        }
    }
}
