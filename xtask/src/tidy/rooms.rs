//! The dependency table of `ARCHITECTURE.md`, checked by machine.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};

use super::table::{self, Row};
use super::workspace::Workspace;
use crate::shell::root;

/// Who may know whom: package to the packages of ours it may depend on, one a line. `ARCHITECTURE.md` shows the same
/// table with reasons; both are compared. A grant that nobody uses is a fault.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("cgroup", &["model"]),
    ("kernel-pools", &["model"]),
    ("proc-view", &["model"]),
    ("host-base", &[]),
    ("sample-blocks", &["model"]),
    ("agent-protocol", &[]),
    ("telemetry", &[]),
    ("outbound", &[]),
    ("tasks", &[]),
    ("console", &[]),
    ("receiver", &[]),
    ("xtask", &[]),
    ("system", &["model", "tasks"]),
    ("wire", &["model"]),
    ("lives", &["model"]),
    ("store", &["model", "sample-blocks"]),
    ("engine", &["model"]),
    ("agent", &["agent-protocol"]),
    ("agent-link", &["model", "agent-protocol", "engine"]),
    (
        "engine-namespaces",
        &[
            "model",
            "cgroup",
            "kernel-pools",
            "proc-view",
            "host-base",
            "agent-protocol",
            "tasks",
            "engine",
            "agent-link",
        ],
    ),
    ("lifecycle", &["model", "tasks", "lives", "store", "engine"]),
    ("sampler", &["model", "tasks", "store", "engine"]),
    ("logs", &["model", "agent-protocol", "tasks", "store", "engine", "agent-link"]),
    ("webhooks", &["model", "telemetry", "outbound", "tasks", "wire", "store"]),
    ("client", &["agent-protocol", "outbound", "wire"]),
    ("data-dir", &["model", "store"]),
    ("housekeeping", &["model", "tasks", "store"]),
    ("alerts", &["model", "tasks", "store", "sampler"]),
    ("api", &["model", "outbound", "tasks", "wire", "lives", "store", "sampler"]),
    ("edge", &["model", "agent-protocol", "lives"]),
    ("otlp", &["model", "outbound", "tasks", "wire", "store", "sampler"]),
    ("config", &["model", "telemetry", "outbound"]),
    ("testbed", &["model", "agent-protocol", "tasks", "lives", "store", "engine", "agent-link"]),
    ("cli", &["model", "console", "system", "wire", "client"]),
    (
        "operator",
        &[
            "model",
            "cgroup",
            "tasks",
            "console",
            "system",
            "wire",
            "store",
            "engine-namespaces",
            "data-dir",
            "config",
        ],
    ),
    (
        "bench",
        &[
            "model",
            "telemetry",
            "outbound",
            "tasks",
            "console",
            "receiver",
            "system",
            "store",
            "webhooks",
            "client",
            "cli",
        ],
    ),
    (
        "server",
        &[
            "model",
            "cgroup",
            "telemetry",
            "outbound",
            "tasks",
            "console",
            "system",
            "wire",
            "store",
            "engine",
            "engine-namespaces",
            "lifecycle",
            "sampler",
            "logs",
            "webhooks",
            "data-dir",
            "housekeeping",
            "alerts",
            "api",
            "edge",
            "otlp",
            "config",
        ],
    ),
    ("demo", &["model", "telemetry", "console", "receiver", "system", "client", "config", "cli", "server"]),
    ("sandscope", &["console", "engine-namespaces", "api", "cli", "operator", "bench", "server", "demo"]),
];

pub(super) fn faults(workspace: &Workspace) -> Result<Vec<String>> {
    let granted = MAY_KNOW.iter().map(|(name, known)| {
        ((*name).to_owned(), known.iter().map(|other| (*other).to_owned()).collect::<BTreeSet<_>>())
    });
    let granted: BTreeMap<_, _> = granted.collect();
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).context("ARCHITECTURE.md")?;
    let shown = table::parse(&text).context("the table in ARCHITECTURE.md")?;
    let mut faults = unlike(&granted, workspace);
    faults.extend(not_shown(&granted, &shown));
    faults.extend(upward(&shown));
    Ok(faults)
}

/// Where crates depend on others than the table grants, and grants that nobody uses.
fn unlike(granted: &BTreeMap<String, BTreeSet<String>>, workspace: &Workspace) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, found) in &workspace.crates {
        let Some(allowed) = granted.get(name) else {
            faults.push(format!("{name} is not in the table (xtask/src/tidy/rooms.rs and ARCHITECTURE.md)"));
            continue;
        };
        let extra = found.ours.difference(allowed);
        faults.extend(
            extra.map(|other| format!("{name} may not depend on {other} (table in ARCHITECTURE.md)")),
        );
        let unused = allowed.difference(&found.ours);
        faults.extend(
            unused.map(|other| format!("{name} may depend on {other} and does not: take the grant away")),
        );
    }
    let gone = granted.keys().filter(|name| !workspace.crates.contains_key(*name));
    faults.extend(gone.map(|name| format!("the table has a row for {name}, which is no crate")));
    faults
}

/// Where the table here and the one in `ARCHITECTURE.md` differ.
fn not_shown(granted: &BTreeMap<String, BTreeSet<String>>, shown: &BTreeMap<String, Row>) -> Vec<String> {
    let none = BTreeSet::new();
    let names: BTreeSet<&String> = granted.keys().chain(shown.keys()).collect();
    let mut faults = Vec::new();
    for name in names {
        match (granted.get(name), shown.get(name)) {
            (Some(_), None) => faults.push(format!("ARCHITECTURE.md's table has no line for {name}")),
            (None, Some(_)) => faults.push(format!("ARCHITECTURE.md's table has {name}, rooms.rs has not")),
            (here, there) => {
                let (here, there) = (here.unwrap_or(&none), there.map_or(&none, |row| &row.may_know));
                let differs = here.symmetric_difference(there);
                faults.extend(differs.map(|other| {
                    format!("{name} → {other}: only one of ARCHITECTURE.md and rooms.rs has it")
                }));
            }
        }
    }
    faults
}

/// Arrows from a lower floor to a higher one.
fn upward(shown: &BTreeMap<String, Row>) -> Vec<String> {
    let arrows =
        shown.iter().flat_map(|(name, row)| row.may_know.iter().map(move |other| (name, row.level, other)));
    arrows
        .filter(|(_, level, other)| shown.get(*other).is_none_or(|row| row.level > *level))
        .map(|(name, _, other)| {
            format!("ARCHITECTURE.md: {name} knows {other}, which is not on its floor or below")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::workspace::Dependencies;
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn granted(rows: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
        rows.iter().map(|(name, known)| ((*name).to_owned(), names(known))).collect()
    }

    fn workspace(rows: &[(&str, &[&str])]) -> Workspace {
        let crates = granted(rows).into_iter();
        Workspace {
            crates: crates.map(|(name, ours)| (name, Dependencies { ours, ..Default::default() })).collect(),
        }
    }

    fn shown(rows: &[(u8, &str, &[&str])]) -> BTreeMap<String, Row> {
        rows.iter()
            .map(|(level, name, known)| ((*name).to_owned(), Row { level: *level, may_know: names(known) }))
            .collect()
    }

    #[test]
    fn a_dependency_without_a_grant_a_grant_without_use_and_a_crate_without_a_row_are_faults() {
        let real = workspace(&[("api", &["store"]), ("store", &[])]);
        assert!(unlike(&granted(&[("api", &["store"]), ("store", &[])]), &real).is_empty());
        assert_eq!(unlike(&granted(&[("api", &[]), ("store", &[])]), &real).len(), 1);
        assert_eq!(unlike(&granted(&[("api", &["store"]), ("store", &["api"])]), &real).len(), 1);
        assert_eq!(unlike(&granted(&[("api", &["store"])]), &real).len(), 1);
        assert_eq!(unlike(&granted(&[("api", &["store"]), ("store", &[]), ("gone", &[])]), &real).len(), 1);
    }

    #[test]
    fn both_tables_say_the_same() {
        let here = granted(&[("api", &["store"]), ("store", &[])]);
        assert!(not_shown(&here, &shown(&[(1, "api", &["store"]), (0, "store", &[])])).is_empty());
        assert_eq!(not_shown(&here, &shown(&[(1, "api", &[]), (0, "store", &[])])).len(), 1);
        assert_eq!(not_shown(&here, &shown(&[(1, "api", &["store"])])).len(), 1);
    }

    #[test]
    fn no_arrow_runs_upward() {
        assert!(upward(&shown(&[(1, "api", &["store"]), (0, "store", &[])])).is_empty());
        assert_eq!(upward(&shown(&[(0, "api", &["store"]), (1, "store", &[])])).len(), 1);
    }
}
