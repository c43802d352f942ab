//! Rust files of the repository, and which of their lines ship.

use std::ops::Range;

use anyhow::{Context as _, Result};

use crate::shell::{output, root};

/// A file that ends in `.rs`.
#[derive(Debug)]
pub(super) struct Source {
    /// From the root of the repository, with slashes.
    pub(super) path: String,
    pub(super) text: String,
    /// Lines of items that only tests compile, by their index.
    tests: Vec<Range<usize>>,
}

impl Source {
    pub(super) fn new(path: &str, text: String) -> Self {
        let tests = items_of_tests(&text);
        Self { path: path.to_owned(), text, tests }
    }

    /// The Rust files among `files`.
    pub(super) fn read_all(files: &[String]) -> Result<Vec<Self>> {
        let rust = files.iter().filter(|file| file.ends_with(".rs"));
        rust.map(|file| {
            let text = std::fs::read_to_string(root().join(file)).with_context(|| file.clone())?;
            Ok(Self::new(file, text))
        })
        .collect()
    }

    /// The crate it belongs to, without `sandscope-`; `None` for what is no part of the workspace.
    pub(super) fn room(&self) -> Option<&str> {
        match self.path.strip_prefix("crates/") {
            Some(below) => below.split('/').next(),
            None => self.path.starts_with("xtask/").then_some("xtask"),
        }
    }

    /// Whether all of it is only for tests or measurements.
    pub(super) fn is_test(&self) -> bool {
        let folders = ["tests", "benches", "fuzz"];
        self.path.ends_with("_tests.rs")
            || self.path.ends_with("/tests.rs")
            || self.path.split('/').any(|part| folders.contains(&part))
    }

    /// How long it is, with everything in it.
    pub(super) fn n_lines(&self) -> usize {
        self.text.lines().count()
    }

    /// Lines that ship: neither blank nor comment, and not in an item that only tests compile. With their numbers,
    /// from 1.
    pub(super) fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code().filter(|(n, _)| !self.is_test() && !self.is_within_tests(*n))
    }

    /// Lines of code that only tests compile, with their numbers.
    pub(super) fn tested(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code().filter(|(n, _)| self.is_test() || self.is_within_tests(*n))
    }

    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().map(str::trim).enumerate().map(|(index, line)| (index + 1, line));
        lines.filter(|(_, line)| !line.is_empty() && !line.starts_with("//"))
    }

    fn is_within_tests(&self, n: usize) -> bool {
        self.tests.iter().any(|lines| lines.contains(&(n - 1)))
    }
}

/// Everything Git knows or would take, that still exists.
pub(super) fn tracked_files() -> Result<Vec<String>> {
    let arguments = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let listed = output(std::process::Command::new("git").args(arguments).current_dir(root()))?;
    Ok(listed.lines().filter(|file| root().join(file).is_file()).map(str::to_owned).collect())
}

/// The lines of each item below `#[cfg(test)]`. The code is formatted: an item ends where a line as far in as its
/// attribute closes it.
fn items_of_tests(text: &str) -> Vec<Range<usize>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut items = Vec::new();
    let mut next = 0;
    while next < lines.len() {
        let start = next;
        next += 1;
        if lines[start].trim() != "#[cfg(test)]" {
            continue;
        }
        let depth = indentation(lines[start]);
        let closes = |line: &&str| {
            let line_ends = [";", "}", "},", "};", ","].iter().any(|end| line.trim_end().ends_with(end));
            indentation(line) == depth && !is_before_item(line) && line_ends
        };
        let length = lines[next..].iter().position(closes);
        next = length.map_or(lines.len(), |length| next + length + 1);
        items.push(start..next);
    }
    items
}

/// Whether `line` only introduces an item: another attribute, a comment, nothing.
fn is_before_item(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with("#[") || line.starts_with("//")
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped(text: &str) -> Vec<usize> {
        Source::new("crates/a/src/lib.rs", text.to_owned()).shipped().map(|(n, _)| n).collect()
    }

    #[test]
    fn blank_lines_and_comments_do_not_count() {
        assert_eq!(shipped("//! Head.\n\nfn one() {}\n    // why\nfn two() {}\n"), [3, 5]);
    }

    #[test]
    fn what_stands_below_the_tests_counts() {
        let text = "fn one() {}\n#[cfg(test)]\nmod tests {\n    fn a() {}\n}\n\nfn two() {\n}\n";
        assert_eq!(shipped(text), [1, 7, 8]);
    }

    #[test]
    fn a_module_in_another_file_is_one_line() {
        let text = "#[cfg(test)]\n#[path = \"a_tests.rs\"]\nmod tests;\nmod two;\n";
        assert_eq!(shipped(text), [4]);
    }

    #[test]
    fn a_function_and_a_field_of_tests_end_where_they_end() {
        let text = "impl A {\n    #[cfg(test)]\n    fn of(\n        a: B,\n    ) -> C {\n        d(&[\n        ]);\n    }\n\n    \
                    fn two() {}\n}\nstruct E {\n    #[cfg(test)]\n    /// It.\n    f: G,\n    h: I,\n}\n";
        assert_eq!(shipped(text), [1, 10, 11, 12, 16, 17]);
    }

    #[test]
    fn a_file_of_tests_ships_nothing() {
        for path in
            ["crates/a/tests/all.rs", "crates/a/src/b_tests.rs", "crates/a/src/tests/b.rs", "fuzz/b.rs"]
        {
            let source = Source::new(path, "fn one() {}\n".to_owned());
            assert_eq!((source.shipped().count(), source.tested().count()), (0, 1), "{path}");
        }
        assert!(!Source::new("crates/testbed/src/lib.rs", String::new()).is_test());
    }
}
