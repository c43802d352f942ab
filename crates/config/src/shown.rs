use toml::Value;

use crate::given::Source;

/// One line of what is shown.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// The section, with one more pair of brackets where it is a list's.
    pub(crate) table: &'static str,
    /// Which item of a list.
    pub(crate) n: usize,
    pub(crate) key: &'static str,
    /// As the file has it; `None` where nothing is set and nothing holds by default.
    pub(crate) value: Option<String>,
    pub(crate) source: Source,
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
