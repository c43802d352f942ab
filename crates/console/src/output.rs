//! Standard output and standard error, for people and for programs. Colours only where a terminal shows them and
//! `NO_COLOR` is not set.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Writes one line to standard output, flushed: a reader sees it at once.
///
/// # Errors
/// What the system says if the stream cannot be written.
pub fn line(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    // In one piece: a reader that stops at some line has got the whole of what it wanted.
    out.write_all(format!("{text}\n").as_bytes())?;
    out.flush()
}

/// Prints a remark that is not a result, on standard error.
pub fn note(text: impl Display) {
    // If standard error is gone there is nowhere to report it.
    let _ = writeln!(io::stderr(), "{}", Paint::for_stderr().dim(text));
}

/// Writes bytes to standard output as they are, flushed.
///
/// # Errors
/// What the system says if the stream cannot be written.
pub fn raw_stdout(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Writes bytes to standard error as they are.
///
/// # Errors
/// What the system says if the stream cannot be written.
pub fn raw_stderr(bytes: &[u8]) -> io::Result<()> {
    io::stderr().lock().write_all(bytes)
}

/// Says something on standard error that is no reason to stop.
pub fn warn(text: impl Display) {
    let paint = Paint::for_stderr();
    let _ = writeln!(io::stderr(), "{} {text}", paint.yellow("warning:"));
}

/// `text` with everything escaped that would steer a terminal or turn its writing around: sandboxes' words, and their
/// owners' labels, are other people's.
pub fn printable(text: &str) -> String {
    let steers = |char: char| {
        (char.is_control() && char != '\t')
            || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(steers) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len()), |mut printable, char| {
        if steers(char) {
            printable.extend(char.escape_default());
        } else {
            printable.push(char);
        }
        printable
    })
}

/// Writes an error and its causes to standard error.
pub fn complain(error: &anyhow::Error) {
    if let Some(broken) = error.downcast_ref::<io::Error>()
        && broken.kind() == io::ErrorKind::BrokenPipe
    {
        // Whoever read our output has seen enough: `sandscope events | head`.
        return;
    }
    let paint = Paint::for_stderr();
    // If standard error is gone there is nowhere to report it.
    let _ = writeln!(io::stderr(), "{} {error:#}", paint.red("error:"));
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    colours: bool,
}

impl Paint {
    /// Colours where standard output is a terminal that wants them.
    pub fn for_stdout() -> Self {
        Self { colours: io::stdout().is_terminal() && wanted() }
    }

    /// No colours, wherever it goes.
    pub const fn none() -> Self {
        Self { colours: false }
    }

    fn for_stderr() -> Self {
        Self { colours: io::stderr().is_terminal() && wanted() }
    }

    /// `text`, bold.
    pub fn bold(self, text: impl Display) -> String {
        self.with("1", text)
    }

    /// `text`, dim.
    pub fn dim(self, text: impl Display) -> String {
        self.with("2", text)
    }

    /// `text` in red.
    pub fn red(self, text: impl Display) -> String {
        self.with("31", text)
    }

    /// `text` in green.
    pub fn green(self, text: impl Display) -> String {
        self.with("32", text)
    }

    /// `text` in yellow.
    pub fn yellow(self, text: impl Display) -> String {
        self.with("33", text)
    }

    /// `text` in cyan.
    pub fn cyan(self, text: impl Display) -> String {
        self.with("36", text)
    }

    fn with(self, code: &str, text: impl Display) -> String {
        if self.colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_string() }
    }
}

/// Whether a whole screen may have colours.
pub fn colours_wanted() -> bool {
    wanted()
}

fn wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Rows under a head, columns as wide as their widest cell.
pub fn table(head: &[&str], rows: &[Vec<String>], paint: Paint) -> String {
    let width = |column: usize, title: &str| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
            .max(title.len())
    };
    let widths: Vec<usize> = head.iter().enumerate().map(|(column, title)| width(column, title)).collect();
    let lay = |cells: Vec<&str>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| {
                let fill = width.saturating_sub(cell.chars().count());
                format!("{cell}{}", " ".repeat(fill))
            })
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![paint.bold(lay(head.to_vec()))];
    lines.extend(rows.iter().map(|row| lay(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_may_be_longer_than_formats_pad() {
        let long = "x".repeat(70_000);
        let rows = vec![vec![long.clone(), "a".to_owned()], vec!["y".to_owned(), "b".to_owned()]];
        let table = table(&["ONE", "TWO"], &rows, Paint::none());
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[1], format!("{long}  a"));
        assert_eq!(lines[2].len(), 70_003);
    }

    #[test]
    fn a_table_lines_up() {
        let rows = vec![vec!["a".to_owned(), "long cell".to_owned()], vec!["bbb".to_owned(), String::new()]];
        let table = table(&["X", "TITLE"], &rows, Paint { colours: false });
        assert_eq!(table, "X    TITLE\na    long cell\nbbb");
    }
}
