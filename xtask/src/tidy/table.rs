//! The table "who may know whom" as `ARCHITECTURE.md` shows it: one crate a line, `L1  store(model)`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};

/// The heading above the table.
const HEADING: &str = "## Who may know whom";

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The floor: nobody depends on a crate above its own.
    pub(super) level: u8,
    pub(super) may_know: BTreeSet<String>,
}

/// Reads the table out of the text of `ARCHITECTURE.md`.
///
/// # Errors
/// There is no such table, or a line of it does not read `L<floor>  <crate>(<crate>, …)`.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, Row>> {
    let (_, below) = text.split_once(HEADING).with_context(|| format!("no `{HEADING}`"))?;
    let fence = below.split("```").nth(1).context("no table in a code fence")?;
    let mut rows = BTreeMap::new();
    for line in fence.lines().skip(1).map(str::trim).filter(|line| !line.is_empty()) {
        let (name, row) =
            row(line).with_context(|| format!("not `L<floor>  <crate>(<crate>, …)`: {line}"))?;
        if rows.insert(name.clone(), row).is_some() {
            bail!("two lines of the table are about {name}");
        }
    }
    Ok(rows)
}

fn row(line: &str) -> Option<(String, Row)> {
    let (level, rest) = line.strip_prefix('L')?.split_once(char::is_whitespace)?;
    let level = level.parse().ok()?;
    let (name, may_know) = match rest.trim().split_once('(') {
        Some((name, known)) => (name, known.strip_suffix(')')?),
        None => (rest.trim(), ""),
    };
    let may_know = may_know.split(',').map(str::trim).filter(|known| !known.is_empty());
    Some((name.to_owned(), Row { level, may_know: may_know.map(str::to_owned).collect() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_floor_a_crate_and_whom_it_may_know() {
        let text =
            "# A\n## Who may know whom\nwords\n```text\nL0  model\nL1  store(model, tasks)\n```\nmore\n";
        let rows = parse(text).unwrap();
        assert_eq!(rows["model"], Row { level: 0, may_know: BTreeSet::new() });
        assert_eq!(rows["store"], Row { level: 1, may_know: ["model".into(), "tasks".into()].into() });
    }

    #[test]
    fn a_line_that_is_none_is_refused() {
        for line in ["store(model)", "L1 store(model", "L1  store(model)\nL2  store(model)"] {
            assert!(parse(&format!("{HEADING}\n```text\n{line}\n```")).is_err(), "{line}");
        }
    }
}
