//! The keys, on the screen.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph};

use super::paint::middle;
use crate::arguments::TOP_KEYS;

/// What the columns mean.
const COLUMNS: &str = "\
running!        an alert about it fires: look closely to see which
curve           CPU of the last seconds, as high as the busiest
AGE  LEFT       since its start; until its timeout
STALLS c/m/i    % of 10 s in which it waited for CPU, memory, I/O
A wider screen shows more columns.";

pub(super) fn draw(frame: &mut Frame<'_>) {
    let lines: Vec<Line<'_>> = TOP_KEYS.lines().chain([""]).chain(COLUMNS.lines()).map(Line::from).collect();
    let width = lines.iter().map(Line::width).max().unwrap_or(0) + 4;
    let (width, height) = (width.try_into().unwrap_or(u16::MAX), lines.len() + 2);
    let area = middle(frame.area(), width, height.try_into().unwrap_or(u16::MAX));
    let inner = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    frame.render_widget(Clear, area);
    frame.render_widget(Block::bordered().title(" any key closes this "), area);
    let text = Rect { y: inner.y + 1, height: inner.height.saturating_sub(2), x: inner.x + 1, ..inner };
    frame.render_widget(Paragraph::new(lines), text.intersection(area));
}
