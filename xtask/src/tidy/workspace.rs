//! The crates of this workspace and what each depends on, from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::shell::{cargo, output};

/// What a crate depends on, tests apart. Names of ours are without `sandscope-`.
#[derive(Debug, Default)]
pub(super) struct Dependencies {
    /// Crates of this workspace.
    pub(super) ours: BTreeSet<String>,
    /// Crates of others.
    pub(super) others: BTreeSet<String>,
}

/// Every crate of the workspace, by its name without `sandscope-`.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    pub(super) crates: BTreeMap<String, Dependencies>,
}

impl Workspace {
    pub(super) fn read() -> Result<Self> {
        let metadata = output(&mut cargo(&["metadata", "--format-version=1", "--no-deps"]))?;
        let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata")?;
        let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
        Ok(Self { crates: packages.iter().map(package).collect() })
    }

    /// Everything of ours that `from` reaches, over any number of crates.
    pub(super) fn reached_from(&self, from: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut left = vec![from.to_owned()];
        while let Some(name) = left.pop() {
            for next in self.crates.get(&name).into_iter().flat_map(|found| &found.ours) {
                if reached.insert(next.clone()) {
                    left.push(next.clone());
                }
            }
        }
        reached
    }
}

fn package(package: &Value) -> (String, Dependencies) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let short = |value: &Value| {
        let name = text(value);
        name.strip_prefix("sandscope-").map(str::to_owned).unwrap_or(name)
    };
    let mut found = Dependencies::default();
    let listed = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    for dependency in listed.iter().filter(|dependency| dependency["kind"] != "dev") {
        if dependency["path"].is_string() {
            found.ours.insert(short(&dependency["name"]));
        } else {
            found.others.insert(text(&dependency["name"]));
        }
    }
    (short(&package["name"]), found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_of_tests_do_not_count_and_ours_are_those_with_a_path() {
        let json = serde_json::json!({"name": "sandscope-api", "dependencies": [
            {"name": "sandscope-store", "path": "/x", "kind": null},
            {"name": "sandscope-testbed", "path": "/x", "kind": "dev"},
            {"name": "serde", "kind": null},
        ]});
        let (name, found) = package(&json);
        assert_eq!((name.as_str(), found.ours.len(), found.others.len()), ("api", 1, 1));
        assert!(found.ours.contains("store") && found.others.contains("serde"));
    }

    #[test]
    fn what_is_reached_is_reached_over_others_too() {
        let ours = |names: &[&str]| Dependencies {
            ours: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Dependencies::default()
        };
        let crates = [("a", ours(&["b"])), ("b", ours(&["c"])), ("c", ours(&[])), ("d", ours(&["a"]))];
        let workspace =
            Workspace { crates: crates.into_iter().map(|(name, found)| (name.to_owned(), found)).collect() };
        assert_eq!(workspace.reached_from("a"), ["b".to_owned(), "c".to_owned()].into());
    }
}
