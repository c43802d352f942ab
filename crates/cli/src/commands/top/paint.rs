//! What all parts of the picture share: colours, and places on the screen.

use ratatui::layout::Rect;
use ratatui::style::{Color, Style};

pub(super) const MIB: u64 = 1024 * 1024;

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    pub(super) fn of(self, colour: Color) -> Style {
        if self.0 { Style::new().fg(colour) } else { Style::new() }
    }

    /// Green below a tenth, yellow below four, red above.
    pub(super) fn share(self, pct: f64, low: f64, high: f64) -> Style {
        self.of(if pct < low {
            Color::Green
        } else if pct < high {
            Color::Yellow
        } else {
            Color::Red
        })
    }
}

pub(super) fn middle(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height }
}
