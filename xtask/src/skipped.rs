//! What was not run, and why: the last line of `cargo xtask test` names it, because what was skipped has not passed.
//!
//! All three test runners write JUnit's XML. Node and pytest mark a skipped test there; a Rust test that cannot run on
//! this machine prints a line `SKIPPED …` and returns, and nextest keeps what tests print.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Tests named per reason; the rest are counted.
const NAMED: usize = 3;

/// What was skipped so far: names by reason.
#[derive(Debug, Default)]
pub(crate) struct Skipped(BTreeMap<String, Vec<String>>);

impl Skipped {
    /// `what` was not run, because of `reason`.
    pub(crate) fn add(&mut self, what: &str, reason: &str) {
        println!("SKIPPED {what}: {reason}");
        self.note(what, reason);
    }

    fn note(&mut self, what: &str, reason: &str) {
        let names = self.0.entry(reason.to_owned()).or_default();
        if !names.iter().any(|name| name == what) {
            names.push(what.to_owned());
        }
    }

    /// Takes in what a test runner wrote to `file`.
    ///
    /// # Errors
    /// The runner wrote no such file: then nobody knows what it skipped.
    pub(crate) fn read(&mut self, file: &Path) -> Result<()> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("the test runner wrote no {}", file.display()))?;
        self.take(&text);
        Ok(())
    }

    fn take(&mut self, junit: &str) {
        for case in junit.split("<testcase").skip(1) {
            let case = case.split("</testcase>").next().unwrap_or_default();
            let head = case.split('>').next().unwrap_or_default();
            let name = attribute(head, "name").unwrap_or_default();
            if let Some(skipped) = case.split("<skipped").nth(1) {
                let reason = attribute(skipped.split('>').next().unwrap_or_default(), "message");
                // Node says `true` where a test gives no reason.
                let reason = reason.filter(|reason| reason != "true" && !reason.is_empty());
                self.note(&name, &reason.unwrap_or_else(|| "no reason given".to_owned()));
            }
            for line in case.lines() {
                // The first line of an output is behind its tag.
                let line = line.rsplit('>').next().filter(|rest| !rest.is_empty()).unwrap_or(line);
                if let Some(reason) = line.trim_start().strip_prefix("SKIPPED") {
                    let reason = reason.split('<').next().unwrap_or_default();
                    self.note(&name, unescaped(reason).trim_matches([' ', ',', ':']));
                }
            }
        }
    }

    /// The last line of a run that `took` so long and in which everything that ran has passed.
    pub(crate) fn verdict(&self, took: Duration) -> String {
        let took = took.as_secs();
        if self.0.is_empty() {
            return format!("all passed in {took} s");
        }
        let reasons = self.0.iter().map(|(reason, names)| {
            let more = names.len().saturating_sub(NAMED);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            format!("{}{more} ({reason})", names[..names.len().min(NAMED)].join(", "))
        });
        format!("passed in {took} s, except what was SKIPPED: {}", reasons.collect::<Vec<_>>().join("; "))
    }
}

fn attribute(head: &str, name: &str) -> Option<String> {
    let (_, rest) = head.split_once(&format!(" {name}=\""))?;
    rest.split('"').next().map(unescaped)
}

fn unescaped(text: &str) -> String {
    let pairs =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&#10;", " ")];
    let text = pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    text.replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(junit: &str) -> String {
        let mut skipped = Skipped::default();
        skipped.take(junit);
        skipped.verdict(Duration::from_secs(7))
    }

    #[test]
    fn a_test_that_passed_is_not_named() {
        assert_eq!(verdict("<testsuite><testcase name=\"a\" time=\"1\"/></testsuite>"), "all passed in 7 s");
        let printed = "<testcase name=\"a\"><system-out>nothing was SKIPPED here\n</system-out></testcase>";
        assert_eq!(verdict(printed), "all passed in 7 s");
    }

    #[test]
    fn pytest_and_node_say_what_they_skipped() {
        let pytest = "<testcase classname=\"test_pty\" name=\"test_input\" time=\"0\"><skipped type=\"pytest.skip\" \
                      message=\"no &quot;stream_input&quot;\">test_pty.py:70</skipped></testcase>";
        assert_eq!(
            verdict(pytest),
            "passed in 7 s, except what was SKIPPED: test_input (no \"stream_input\")"
        );
        let node =
            "<testcase name=\"a b\" time=\"0\">\n\t<skipped type=\"skipped\" message=\"true\"/>\n</testcase>";
        assert_eq!(verdict(node), "passed in 7 s, except what was SKIPPED: a b (no reason given)");
    }

    #[test]
    fn what_a_rust_test_prints_is_found_and_those_of_one_reason_are_counted() {
        let case = |name: &str| {
            format!(
                "<testcase name=\"{name}\" classname=\"x\">\n<system-out>\nrunning 1 test\n</system-out>\n<system-err>\
                 SKIPPED, no sandboxes here: needs root\n</system-err>\n</testcase>\n"
            )
        };
        let junit: String = ["a", "b", "c", "d", "e"].map(case).concat();
        assert_eq!(
            verdict(&junit),
            "passed in 7 s, except what was SKIPPED: a, b, c and 2 more (no sandboxes here: needs root)"
        );
    }
}
