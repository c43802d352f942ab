//! The terminal we run on, when something else uses it.

use std::io;

use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use sandscope_client::TerminalSize;

/// What undoes whatever a program may have done to a terminal that it had no time to undo: the main screen, a visible
/// cursor, plain text, no mouse, no bracketed paste.
const UNDO: &[u8] =
    b"\x1b[?1049l\x1b[?25h\x1b[0m\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?1l\x1b>\r\n";

/// A terminal's size where it does not say.
const DEFAULT_SIZE: TerminalSize = TerminalSize { cols: 80, rows: 24 };

/// Whether both standard input and output are a terminal.
pub(crate) fn is_there() -> bool {
    isatty(stdin()) && isatty(stdout())
}

/// Its size now.
pub(crate) fn size() -> TerminalSize {
    match tcgetwinsize(stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            TerminalSize { cols: size.ws_col, rows: size.ws_row }
        }
        _ => DEFAULT_SIZE,
    }
}

/// The terminal passes every key on and shows nothing by itself, until this is dropped.
pub(crate) struct RawMode {
    before: Termios,
}

impl RawMode {
    pub(crate) fn enter() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Drain, &raw)?;
        Ok(Self { before })
    }

    /// Undoes what a program that was cut off may have left behind.
    pub(crate) fn undo_all(self) {
        // If the terminal is gone there is nothing to undo.
        let _ = sandscope_console::output::raw_stdout(UNDO);
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // As above. Not drained: the other side may never read.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}
