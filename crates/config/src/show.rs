//! The effective configuration as a TOML file, secrets hidden.

use std::fmt::Write as _;

use crate::Config;
use crate::shown::Shown;

impl Config {
    /// Every setting with its value, as a file that could be used again (but for secrets).
    pub fn show(&self) -> String {
        self.lines(|line| format!("{} = {}", line.key, line.value))
    }

    /// The same, each line with where the value comes from.
    pub fn show_sources(&self) -> String {
        self.lines(|line| format!("{} = {}  # {}", line.key, line.value, line.source))
    }

    fn lines(&self, line: impl Fn(&Shown) -> String) -> String {
        let mut out = String::new();
        let mut at = None;
        for shown in &self.shown {
            if at != Some((shown.table, shown.n)) {
                let gap = if at.is_some() { "\n" } else { "" };
                let _ = writeln!(out, "{gap}[{}]", shown.table);
                at = Some((shown.table, shown.n));
            }
            let _ = writeln!(out, "{}", line(shown));
        }
        out.truncate(out.trim_end().len());
        out
    }
}
