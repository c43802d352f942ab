//! The dependency table of `ARCHITECTURE.md`, the file budget and banned names, checked by machine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::shell::{cargo, output, root};

/// Who may know whom: package to the packages of ours it may depend on. `ARCHITECTURE.md` shows the same table with
/// reasons; change both together.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("cgroup", &[]),
    ("agent-protocol", &[]),
    ("telemetry", &[]),
    ("outbound", &[]),
    ("wire", &["model"]),
    ("store", &["model"]),
    ("runtime", &["model", "cgroup", "agent-protocol"]),
    ("agent", &["agent-protocol"]),
    ("lifecycle", &["model", "store", "runtime", "telemetry"]),
    ("sampler", &["model", "store", "runtime", "telemetry"]),
    ("logs", &["model", "store", "runtime", "agent-protocol", "telemetry"]),
    ("webhooks", &["model", "store", "wire", "outbound", "telemetry"]),
    ("client", &["wire", "agent-protocol", "outbound", "telemetry"]),
    ("api", &["wire", "model", "store", "lifecycle", "sampler", "outbound", "telemetry"]),
    ("otlp", &["wire", "model", "store", "sampler", "outbound", "telemetry"]),
    ("edge", &["model", "lifecycle", "agent-protocol", "telemetry"]),
    ("testbed", &["*"]),
    ("sandscope", &["*"]),
    ("xtask", &[]),
];

/// Lines of code (neither blank nor comment, tests apart) a file may have.
const BUDGET_LINES: usize = 600;
const SECOND_LOOK_LINES: usize = 400;

/// Names that say nothing.
const BANNED: [&str; 5] = ["utils", "util", "helpers", "common", "misc"];

pub(crate) fn run() -> Result<()> {
    let mut faults = dependency_faults()?;
    for file in tracked_files()? {
        faults.extend(name_fault(&file));
        if file.ends_with(".rs") {
            let text = std::fs::read_to_string(root().join(&file)).with_context(|| file.clone())?;
            faults.extend(budget_fault(&file, &text));
            faults.extend(crate::dials::fault(&file, &text));
        }
    }
    if !faults.is_empty() {
        bail!("not tidy:\n  {}", faults.join("\n  "));
    }
    Ok(())
}

fn dependency_faults() -> Result<Vec<String>> {
    let metadata = output(&mut cargo(&["metadata", "--format-version=1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    Ok(packages.iter().flat_map(package_faults).collect())
}

fn package_faults(package: &Value) -> Vec<String> {
    let short = |name: &str| name.strip_prefix("sandscope-").unwrap_or(name).to_owned();
    let name = short(package["name"].as_str().unwrap_or_default());
    let table: BTreeMap<&str, &[&str]> = MAY_KNOW.iter().copied().collect();
    let Some(allowed) = table.get(name.as_str()) else {
        return vec![format!(
            "{name} is not in the dependency table (xtask/src/tidy.rs and ARCHITECTURE.md)"
        )];
    };
    let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ours = dependencies.iter().filter(|dependency| dependency["path"].is_string());
    ours.filter_map(|dependency| {
        let other = short(dependency["name"].as_str().unwrap_or_default());
        if dependency["kind"] == "dev" {
            return None;
        }
        let may = other != "testbed" && (allowed.contains(&"*") || allowed.contains(&other.as_str()));
        (!may).then(|| format!("{name} may not depend on {other} (dependency table in ARCHITECTURE.md)"))
    })
    .collect()
}

fn tracked_files() -> Result<Vec<String>> {
    let arguments = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let listed = output(std::process::Command::new("git").args(arguments).current_dir(root()))?;
    Ok(listed.lines().filter(|file| root().join(file).is_file()).map(str::to_owned).collect())
}

fn name_fault(file: &str) -> Option<String> {
    let banned: BTreeSet<&str> = BANNED.into();
    let parts = Path::new(file).components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    let mut stems = parts.map(|part| part.split('.').next().unwrap_or_default().to_owned());
    stems
        .find(|stem| banned.contains(stem.as_str()))
        .map(|stem| format!("{file}: `{stem}` names nothing; say what is in it"))
}

fn budget_fault(file: &str, text: &str) -> Option<String> {
    if file.ends_with("_tests.rs") || file.split('/').any(|part| part == "tests" || part == "benches") {
        return None;
    }
    let lines = lines_of_code(text);
    if lines > BUDGET_LINES {
        return Some(format!("{file}: {lines} lines of code, the budget is {BUDGET_LINES}: split it"));
    }
    if lines > SECOND_LOOK_LINES {
        println!("    look again at {file}: {lines} lines of code");
    }
    None
}

/// Lines that are neither blank nor comment, up to the tests.
fn lines_of_code(text: &str) -> usize {
    let code = text.lines().map(str::trim).take_while(|line| !line.starts_with("#[cfg(test)]"));
    code.filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_comments_and_tests_do_not_count() {
        let text = "//! Head.\n\nfn one() {}\n    // why\nfn two() {}\n#[cfg(test)]\nmod tests {}\n";
        assert_eq!(lines_of_code(text), 2);
    }

    #[test]
    fn a_file_over_budget_is_a_fault_and_tests_have_none() {
        let long = "let x = 1;\n".repeat(BUDGET_LINES + 1);
        assert!(budget_fault("crates/a/src/lib.rs", &long).is_some());
        assert!(budget_fault("crates/a/tests/all.rs", &long).is_none());
        assert!(budget_fault("crates/a/src/state_tests.rs", &long).is_none());
    }

    #[test]
    fn drawers_are_refused_wherever_they_stand_in_the_path() {
        assert!(name_fault("crates/a/src/utils.rs").is_some());
        assert!(name_fault("crates/common/src/lib.rs").is_some());
        assert!(name_fault("crates/a/src/commons.rs").is_none());
    }

    #[test]
    fn an_edge_that_is_not_in_the_table_is_a_fault() {
        let package = |to: &str, kind: Value| {
            serde_json::json!({"name": "sandscope-api", "dependencies": [
                {"name": format!("sandscope-{to}"), "path": "/x", "kind": kind},
                {"name": "serde", "kind": null}
            ]})
        };
        assert!(package_faults(&package("store", Value::Null)).is_empty());
        assert_eq!(package_faults(&package("runtime", Value::Null)).len(), 1);
        assert_eq!(package_faults(&package("testbed", Value::Null)).len(), 1);
        assert!(package_faults(&package("testbed", "dev".into())).is_empty());
    }
}
