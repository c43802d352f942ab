//! One table of lints for every crate, one `clippy.toml`, and `unsafe` where it belongs.

use anyhow::{Context as _, Result};

use super::source::Source;
use super::workspace::Workspace;
use crate::shell::root;

/// The crates that may hold `unsafe`: they speak to the kernel.
const UNSAFE: [&str; 2] = ["agent", "engine-namespaces"];

/// Crates that read the machine's clock and make ids themselves, and why. All others carry [`BAN`] and take a `Clock`
/// and an `Entropy`; `clippy.toml` lists what is refused.
pub(super) const AMBIENT: &[(&str, &str)] = &[
    ("agent", "runs inside a sandbox, where the machine's clock is the only one"),
    ("bench", "measures in real time"),
    ("cgroup", "waits for the kernel"),
    ("cli", "shows people the time of their machine"),
    ("demo", "waits for what a real server does"),
    ("operator", "looks at the host, where time goes on"),
    ("outbound", "bounds how long those it calls may take"),
    ("engine-namespaces", "waits for the kernel and for processes"),
    ("receiver", "notes when deliveries arrive"),
    ("server", "bounds how long clients may take"),
    ("system", "is the machine's clock for all others"),
    ("testbed", "bounds the waits of tests"),
    ("xtask", "runs other programs"),
];

/// What a crate's first file says where time and chance are arguments.
const BAN: &str = "#![warn(clippy::disallowed_methods)]";

pub(super) fn faults(workspace: &Workspace, files: &[String], sources: &[Source]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.ends_with("Cargo.toml") && file.contains('/')) {
        let text = std::fs::read_to_string(root().join(file)).with_context(|| file.clone())?;
        faults.extend(manifest_fault(file, &text));
    }
    let nested =
        files.iter().filter(|file| file.ends_with("/clippy.toml") || file.ends_with("/.clippy.toml"));
    faults.extend(
        nested.map(|file| format!("{file}: the one at the root is for all, and this would replace it")),
    );
    faults.extend(sources.iter().filter_map(unsafe_fault));
    faults.extend(workspace.crates.keys().filter_map(|room| ban_fault(room, sources)));
    let gone = AMBIENT.iter().filter(|(room, _)| !workspace.crates.contains_key(*room));
    faults.extend(gone.map(|(room, _)| format!("{room} is no crate: take it out of lints.rs")));
    Ok(faults)
}

/// A crate with lints of its own escapes the table at the root. `fuzz/` is a workspace of its own.
fn manifest_fault(file: &str, text: &str) -> Option<String> {
    let ours = file.starts_with("crates/") || file.starts_with("xtask/");
    let follows = text.contains("[lints]\nworkspace = true\n");
    (ours && (!follows || text.contains("[lints.")))
        .then(|| format!("{file}: `[lints]` must be `workspace = true`"))
}

fn unsafe_fault(source: &Source) -> Option<String> {
    let room = source.room()?;
    if UNSAFE.contains(&room) {
        return None;
    }
    let (n, _) = source.shipped().chain(source.tested()).find(|(_, line)| {
        let lint = line.starts_with("#") && line.contains("unsafe_code");
        lint || line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
            && !quoted(line)
    })?;
    Some(format!("{}:{n}: only {} may hold `unsafe`", source.path, UNSAFE.join(", ")))
}

/// Whether `unsafe` is in a string (a header of HTTP knows the word too).
fn quoted(line: &str) -> bool {
    line.find("unsafe").is_some_and(|at| line[..at].matches('"').count() % 2 == 1)
}

fn ban_fault(room: &str, sources: &[Source]) -> Option<String> {
    let folder = if room == "xtask" { "xtask".to_owned() } else { format!("crates/{room}") };
    let first = |name: &str| sources.iter().find(|source| source.path == format!("{folder}/src/{name}.rs"));
    let source = first("lib").or_else(|| first("main"))?;
    let bans = source.text.lines().any(|line| line == BAN);
    match (bans, AMBIENT.iter().any(|(name, _)| *name == room)) {
        (false, false) => Some(format!(
            "{} must say `{BAN}`: time and chance are arguments (or name the crate in lints.rs, and why)",
            source.path
        )),
        (true, true) => Some(format!("{room} bans the machine's clock itself: take it out of lints.rs")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_with_lints_of_its_own_is_a_fault() {
        assert_eq!(manifest_fault("crates/a/Cargo.toml", "[lints]\nworkspace = true\n"), None);
        assert!(manifest_fault("crates/a/Cargo.toml", "[package]\n").is_some());
        assert!(manifest_fault("crates/a/Cargo.toml", "[lints.rust]\nunsafe_code = \"allow\"\n").is_some());
    }

    #[test]
    fn unsafe_is_found_where_it_may_not_be_and_not_in_strings() {
        let fault = |path: &str, text: &str| unsafe_fault(&Source::new(path, text.to_owned()));
        let block = format!("{} {{ f() }}\n", "unsafe");
        assert!(fault("crates/store/src/a.rs", &block).is_some());
        assert!(fault("crates/store/src/a.rs", &format!("#![expect({}_code)]\n", "unsafe")).is_some());
        assert!(fault("crates/agent/src/a.rs", &block).is_none());
        let quoted = format!("let policy = \"style-src '{}-inline'\";\n", "unsafe");
        assert!(fault("crates/edge/src/a.rs", &quoted).is_none());
    }

    #[test]
    fn a_crate_bans_the_machines_clock_or_is_named() {
        let source =
            |room: &str, text: &str| [Source::new(&format!("crates/{room}/src/lib.rs"), text.to_owned())];
        let banned = format!("//! Head.\n\n{BAN}\n");
        assert_eq!(ban_fault("store", &source("store", &banned)), None);
        assert!(ban_fault("store", &source("store", "//! Head.\n")).is_some());
        assert_eq!(ban_fault("agent", &source("agent", "//! Head.\n")), None);
        assert!(ban_fault("agent", &source("agent", &banned)).is_some());
    }
}
