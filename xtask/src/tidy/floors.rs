//! Inside some crates folders lie above each other, and imports run down only.

use std::collections::BTreeMap;

use super::imports::Modules;
use super::source::Source;

/// Crate, folder (with the file of its name), what that may not import, and why.
const BENEATH: &[(&str, &str, &[&str], &str)] = &[
    (
        "store",
        "sqlite",
        &["attempts", "facts", "logs", "samples", "store"],
        "the mechanism knows nothing of what is stored",
    ),
    ("store", "facts", &["attempts", "logs", "samples", "store"], OTHER_FILE),
    ("store", "samples", &["attempts", "facts", "logs", "store"], OTHER_FILE),
    ("store", "logs", &["attempts", "facts", "samples", "store"], OTHER_FILE),
    ("store", "attempts", &["facts", "logs", "samples", "store"], OTHER_FILE),
];

const OTHER_FILE: &str = "each file of the data directory stands alone; who calls the store joins them";

pub(super) fn faults(sources: &[Source]) -> Vec<String> {
    BENEATH
        .iter()
        .flat_map(|(room, folder, above, why)| {
            let sources: Vec<&Source> =
                sources.iter().filter(|source| source.room() == Some(*room)).collect();
            faults_of((room, folder, above, why), &sources)
        })
        .collect()
}

fn faults_of((room, folder, above, why): (&str, &str, &[&str], &str), sources: &[&Source]) -> Vec<String> {
    let modules = Modules::of(sources);
    let imports: BTreeMap<_, _> =
        modules.imports().into_iter().filter(|(file, _)| is_in(file, folder)).collect();
    if imports.is_empty() {
        return vec![format!("{room} has no {folder}: name the folder that took its place (floors.rs)")];
    }
    let upward = imports.into_iter().flat_map(|(file, imported)| {
        let is_above = |other: &&str| above.iter().any(|above| is_in(other, above));
        imported.into_iter().filter(is_above).map(move |other| (file, other))
    });
    upward.map(|(file, other)| format!("{room}: {file} imports {other}: {why}")).collect()
}

/// Whether a file lies in a folder of `src`, or is the one that opens it.
fn is_in(file: &str, folder: &str) -> bool {
    file.strip_prefix(folder).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults_in(below: &str) -> Vec<String> {
        let sources = [
            Source::new("crates/store/src/lib.rs", "mod facts;\nmod sqlite;\n".to_owned()),
            Source::new("crates/store/src/sqlite.rs", "mod file;\n".to_owned()),
            Source::new("crates/store/src/sqlite/file.rs", below.to_owned()),
            Source::new("crates/store/src/facts.rs", "pub struct Facts;\n".to_owned()),
        ];
        let sources: Vec<&Source> = sources.iter().collect();
        faults_of(("store", "sqlite", &["facts"], "it lies below"), &sources)
    }

    #[test]
    fn an_import_that_runs_up_is_a_fault() {
        assert_eq!(faults_in("use crate::facts::Facts;\n").len(), 1);
        assert_eq!(faults_in("use crate::error::StoreError;\n"), Vec::<String>::new());
        assert_eq!(faults_in("#[cfg(test)]\nmod tests {\n    use crate::facts::Facts;\n}\n").len(), 0);
    }

    #[test]
    fn a_folder_that_is_gone_is_a_fault() {
        assert_eq!(faults_of(("store", "sqlite", &["facts"], "it lies below"), &[]).len(), 1);
    }
}
