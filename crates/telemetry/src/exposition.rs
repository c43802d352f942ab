//! Figures in the text format that Prometheus scrapes (version 0.0.4).

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::histogram::{Buckets, Histogram};

/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of figure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, and starts over with the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations in buckets.
    Histogram,
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
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a text cannot fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        self.family = name;
        self
    }

    /// A sample of the family begun last.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.line("", labels, value)
    }

    /// The samples of a histogram of the family begun last.
    #[expect(clippy::cast_precision_loss, reason = "what is counted here stays far below 2^52")]
    pub fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram) -> &mut Self {
        let Buckets { up_to, n, sum_s } = histogram.buckets();
        let bounds = up_to.iter().map(|(bound, n)| (bound.to_string(), *n));
        for (bound, n) in bounds.chain([("+Inf".to_owned(), n)]) {
            self.line("_bucket", &[labels, &[("le", bound.as_str())]].concat(), n as f64);
        }
        self.line("_sum", labels, sum_s).line("_count", labels, n as f64)
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.text.push_str(&self.family);
        self.text.push_str(suffix);
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
    fn a_histogram_has_buckets_a_sum_and_a_count() {
        let histogram = Histogram::default();
        histogram.observe(std::time::Duration::from_millis(50));
        let mut text = Exposition::default();
        text.family("a_seconds", Kind::Histogram, "A.").histogram(&[("x", "y")], &histogram);
        let text = text.finish();
        for line in [
            "# TYPE a_seconds histogram\n",
            "a_seconds_bucket{x=\"y\",le=\"0.025\"} 0\n",
            "a_seconds_bucket{x=\"y\",le=\"0.1\"} 1\n",
            "a_seconds_bucket{x=\"y\",le=\"+Inf\"} 1\n",
            "a_seconds_sum{x=\"y\"} 0.05\n",
            "a_seconds_count{x=\"y\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

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
