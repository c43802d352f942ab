//! Figures in the text format that Prometheus scrapes (version 0.0.4).

use std::borrow::Cow;
use std::fmt::Write as _;

/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of figure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, and starts over with the process.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A text being written: families one after the other, each with its samples.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    family: Cow<'static, str>,
}

impl Exposition {
    /// Begins a family; what follows are its samples. A counter's name ends in `_total`.
    pub fn family(&mut self, name: impl Into<Cow<'static, str>>, kind: Kind, help: &str) -> &mut Self {
        let name = name.into();
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a text cannot fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        self.family = name;
        self
    }

    /// A sample of the family begun last.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.text.push_str(&self.family);
        for (index, (name, value)) in labels.iter().enumerate() {
            let begin = if index == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{begin}{name}=\"{}\"", escaped(value));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
        self
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_may_be_anything() {
        let mut text = Exposition::default();
        text.family("a_total", Kind::Counter, "Of\nall.").sample(&[], 3.0);
        text.family("b", Kind::Gauge, "B.").sample(&[("x", "q\"\\\n"), ("y", "ü")], 0.5);
        assert_eq!(
            text.finish(),
            "# HELP a_total Of\\nall.\n# TYPE a_total counter\na_total 3\n\
             # HELP b B.\n# TYPE b gauge\nb{x=\"q\\\"\\\\\\n\",y=\"ü\"} 0.5\n"
        );
    }
}
