//! What may not be there at all, whatever the table grants.

use super::workspace::Workspace;

/// Crates that reach others of ours not even over third ones. Where `from` does not exist there is nothing to check;
/// where `to` does not, the line has lost its meaning.
const UNREACHED: &[(&str, &str, &str)] = &[
    ("cli", "store", "the command line has no private door"),
    ("cli", "engine", "the command line has no private door"),
    ("cli", "engine-namespaces", "the command line has no private door"),
    ("client", "store", "a client is on the other side of the wire"),
    ("agent", "model", "what runs inside a sandbox knows no model"),
    ("api", "lifecycle", "it asks `lives`, wherever sandboxes live"),
    ("edge", "lifecycle", "it asks `lives`, wherever sandboxes live"),
    ("api", "engine-namespaces", "it asks `lives`, wherever sandboxes live"),
    ("edge", "engine-namespaces", "it asks `lives`, wherever sandboxes live"),
    ("sampler", "alerts", "rules look at what it publishes"),
    ("edge", "engine", "it asks `lives`, wherever sandboxes live"),
    ("lives", "engine", "an answer may come from another machine"),
    ("lives", "store", "an answer may come from another machine"),
    ("store", "wire", "stored forms are the store's own"),
    ("wire", "store", "public forms are the wire's own"),
];

/// Crates that do not depend on others of ours directly: they go through the crate between.
const UNASKED: &[(&str, &str, &str)] = &[
    ("api", "engine", "it asks `lives`"),
    ("lifecycle", "engine-namespaces", "it holds `Engine`, whichever it is"),
    ("sampler", "engine-namespaces", "it holds `Readings`, whichever engine's"),
    ("logs", "engine-namespaces", "it holds `Dial`, whichever engine's"),
    ("api", "cgroup", "it asks `lives`"),
    ("config", "store", "it names settings; `server` makes the parts' options of them"),
    ("config", "otlp", "it names settings; `server` makes the parts' options of them"),
    ("webhooks", "lifecycle", "it reads events from the store"),
    ("webhooks", "api", "it reads events from the store"),
];

/// Crates of others, and who alone depends on them.
const ONLY: &[(&str, &[&str])] = &[
    // SQL and which database.
    ("rusqlite", &["store"]),
    // The form of sealed blocks.
    ("pco", &["sample-blocks"]),
    // Filters of system calls.
    ("seccompiler", &["engine-namespaces"]),
    // What a collector speaks.
    ("opentelemetry-proto", &["otlp"]),
    // The OpenAPI document.
    ("utoipa", &["wire", "api"]),
];

pub(super) fn faults(workspace: &Workspace) -> Vec<String> {
    let exists = |name: &str| workspace.crates.contains_key(name);
    let mut faults = Vec::new();
    for (from, to, why) in UNREACHED {
        if workspace.reached_from(from).contains(*to) {
            faults.push(format!("{from} reaches {to}: {why}"));
        }
    }
    for (from, to, why) in UNASKED {
        if workspace.crates.get(*from).is_some_and(|found| found.ours.contains(*to)) {
            faults.push(format!("{from} depends on {to}: {why}"));
        }
    }
    let lost = UNREACHED.iter().chain(UNASKED).filter(|(_, to, _)| !exists(to));
    faults.extend(lost.map(|(from, to, _)| {
        format!("absences.rs keeps {from} from {to}, which is no crate: name the one that took its place")
    }));
    for (external, users) in ONLY {
        for (name, found) in &workspace.crates {
            if found.others.contains(*external) && !users.contains(&name.as_str()) {
                faults.push(format!("{name} depends on {external}, which only {} may", users.join(" and ")));
            }
        }
        let uses = |user: &&&str| {
            !workspace.crates.get(**user).is_some_and(|found| found.others.contains(*external))
        };
        faults.extend(users.iter().filter(uses).map(|user| {
            format!("{user} may depend on {external} and does not: take the grant away (absences.rs)")
        }));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::super::workspace::Dependencies;
    use super::*;

    /// A workspace in which every line has its meaning, and `more`.
    fn workspace(more: &[(&str, &[&str], &[&str])]) -> Workspace {
        let mut workspace = Workspace::default();
        for (_, to, _) in UNREACHED.iter().chain(UNASKED) {
            workspace.crates.entry((*to).to_owned()).or_default();
        }
        for (external, users) in ONLY {
            for user in *users {
                let found = workspace.crates.entry((*user).to_owned()).or_default();
                found.others.insert((*external).to_owned());
            }
        }
        for (name, ours, others) in more {
            let found: &mut Dependencies = workspace.crates.entry((*name).to_owned()).or_default();
            found.ours.extend(ours.iter().map(|name| (*name).to_owned()));
            found.others.extend(others.iter().map(|name| (*name).to_owned()));
        }
        workspace
    }

    #[test]
    fn what_keeps_the_rules_has_no_faults() {
        assert_eq!(faults(&workspace(&[])), Vec::<String>::new());
    }

    #[test]
    fn the_store_is_found_behind_another_crate_too() {
        let reached = workspace(&[("cli", &["between"], &[]), ("between", &["store"], &[])]);
        assert_eq!(faults(&reached).len(), 1);
        let between =
            workspace(&[("lifecycle", &["between"], &[]), ("between", &["engine-namespaces"], &[])]);
        assert_eq!(faults(&between).len(), 0, "lifecycle asks between");
        assert_eq!(faults(&workspace(&[("lifecycle", &["engine-namespaces"], &[])])).len(), 1);
    }

    #[test]
    fn a_second_user_of_the_database_is_a_fault() {
        assert_eq!(faults(&workspace(&[("sampler", &[], &["rusqlite"])])).len(), 1);
    }
}
