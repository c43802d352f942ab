//! The effective configuration as a TOML file, secrets hidden.

use std::fmt::Write as _;

use crate::Config;
use crate::shown::Shown;

/// A comment: a file has no value for nothing.
fn unset(line: &Shown) -> String {
    format!("# {} is not set", line.key)
}

impl Config {
    /// Every setting with its value, as a file that could be used again (but for secrets).
    pub fn show(&self) -> String {
        self.lines(|line| match &line.value {
            Some(value) => format!("{} = {value}", line.key),
            None => unset(line),
        })
    }

    /// The same, each line with where the value comes from.
    pub fn show_sources(&self) -> String {
        self.lines(|line| match &line.value {
            Some(value) => format!("{} = {value}  # {}", line.key, line.source),
            None => unset(line),
        })
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
