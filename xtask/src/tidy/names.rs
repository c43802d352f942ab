//! Names that say nothing about what is in a file or folder.

use std::path::Path;

const BANNED: [&str; 5] = ["utils", "util", "helpers", "common", "misc"];

pub(super) fn fault(file: &str) -> Option<String> {
    let parts = Path::new(file).components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    let mut stems = parts.map(|part| part.split('.').next().unwrap_or_default().to_owned());
    stems
        .find(|stem| BANNED.contains(&stem.as_str()))
        .map(|stem| format!("{file}: `{stem}` names nothing; say what is in it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawers_are_refused_wherever_they_stand_in_the_path() {
        assert!(fault("crates/a/src/utils.rs").is_some());
        assert!(fault("crates/common/src/lib.rs").is_some());
        assert!(fault("crates/a/src/commons.rs").is_none());
    }
}
