//! One version of each crate in the lock file, but for the list of `deny.toml`: `cargo deny` reads the same list, and is
//! not everywhere.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};

use crate::shell::root;

pub(super) fn faults() -> Result<Vec<String>> {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).with_context(|| name.to_owned());
    Ok(check(&read("Cargo.lock")?, &read("deny.toml")?))
}

fn check(lock: &str, deny: &str) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        if let (Some(name), Some(version)) = (value(package, "name"), value(package, "version")) {
            versions.entry(name).or_default().insert(version);
        }
    }
    let mut faults = Vec::new();
    let skipped: BTreeSet<(&str, &str)> = deny.lines().filter_map(skipped).collect();
    for (name, version) in &skipped {
        let is_second = versions.get(name).is_some_and(|found| found.contains(version) && found.len() > 1);
        if !is_second {
            faults.push(format!("deny.toml skips {name} {version}, which is no second version any more"));
        }
    }
    for (name, found) in versions {
        let left: Vec<&str> =
            found.into_iter().filter(|version| !skipped.contains(&(name, *version))).collect();
        if left.len() > 1 {
            faults.push(format!(
                "{name} is there in versions {}: choose one, or name the older in deny.toml's `skip` with a reason",
                left.join(" and ")
            ));
        }
    }
    faults
}

/// `"…"` after `key =` in a package of the lock file.
fn value<'a>(package: &'a str, key: &str) -> Option<&'a str> {
    let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
    line.strip_prefix('"')?.strip_suffix('"')
}

/// Name and version of a line `{ crate = "name@version", reason = "…" },`.
fn skipped(line: &str) -> Option<(&str, &str)> {
    let (named, rest) = line.trim().strip_prefix("{ crate = \"")?.split_once('"')?;
    rest.contains("reason = \"").then(|| named.split_once('@')).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"a\"\nversion = \"2.0.0\"\n\
                        \n[[package]]\nname = \"b\"\nversion = \"1.0.0\"\n";

    #[test]
    fn two_versions_are_a_fault_unless_one_is_named_with_a_reason() {
        assert_eq!(check(LOCK, "").len(), 1);
        assert!(
            check(LOCK, "skip = [\n    { crate = \"a@1.0.0\", reason = \"b needs it\" },\n]\n").is_empty()
        );
        assert_eq!(check(LOCK, "    { crate = \"a@1.0.0\" },\n").len(), 1, "no reason");
    }

    #[test]
    fn a_name_that_nothing_needs_any_more_is_a_fault() {
        let skips =
            "    { crate = \"a@1.0.0\", reason = \"x\" },\n    { crate = \"b@1.0.0\", reason = \"x\" },\n";
        assert_eq!(check(LOCK, skips).len(), 1);
    }
}
