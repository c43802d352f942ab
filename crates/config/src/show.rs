//! The effective configuration as a TOML file, secrets hidden.

use std::fmt::Write as _;

use toml::Value;

use crate::Config;
use crate::given::Source;

/// One line of it.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// The section, with one more pair of brackets where it is a list's.
    pub(crate) table: &'static str,
    /// Which item of a list.
    pub(crate) n: usize,
    pub(crate) key: &'static str,
    /// As the file has it.
    pub(crate) value: String,
    pub(crate) source: Source,
}

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

/// `value` on one line, as the file has it.
pub(crate) fn line_value(value: &Value) -> String {
    match value {
        Value::Table(table) => {
            let quoted = |text: &str| Value::from(text).to_string();
            let pairs: Vec<String> =
                table.iter().map(|(key, value)| format!("{} = {}", quoted(key), line_value(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(line_value).collect::<Vec<_>>().join(", ")),
        // 1 and not 1.0: what a person would write.
        Value::Float(number) => number.to_string(),
        other => other.to_string(),
    }
}
