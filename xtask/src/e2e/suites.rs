//! Which end-to-end tests there are: found by name, so that no file is forgotten.
//!
//! `*.test.mjs` below `tests/e2e/js` and `test_*.py` below `tests/e2e/python` are run, each against the server that the
//! first line of the file asks for:
//!
//! ```text
//! (nothing)          the server all share; Python with both generations of the SDK
//! e2e: own server    a server for this file alone
//! e2e: newest        Python: only with the newest generation, because it is about us and not about the SDK
//! e2e: tls           a server that speaks TLS; Python with both generations
//! e2e: fuzz          a server for the fuzzer alone, Python of the newest generation
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The server a file runs against, and with whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerKind {
    Shared,
    Own,
    Newest,
    Tls,
    Fuzz,
}

/// A language of the official SDKs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    JavaScript,
    Python,
}

impl Language {
    pub(crate) const ALL: [Self; 2] = [Self::JavaScript, Self::Python];

    /// The folder of its tests.
    pub(crate) fn folder(self) -> PathBuf {
        let name = match self {
            Self::JavaScript => "js",
            Self::Python => "python",
        };
        crate::shell::root().join("tests/e2e").join(name)
    }

    /// Whether a file of this name is run.
    fn is_test(self, name: &str) -> bool {
        match self {
            Self::JavaScript => name.ends_with(".test.mjs"),
            Self::Python => name.starts_with("test_") && name.ends_with(".py"),
        }
    }

    /// Whether `text` defines tests.
    fn has_tests(self, name: &str, text: &str) -> bool {
        match self {
            Self::JavaScript => {
                let script = [".mjs", ".js", ".ts", ".cjs"].iter().any(|end| name.ends_with(end));
                let is_test =
                    |line: &str| ["test(", "describe(", "it("].iter().any(|call| line.starts_with(call));
                script && text.contains("'node:test'") && text.lines().any(is_test)
            }
            Self::Python => {
                let is_test = |line: &str| {
                    let line = line.trim_start();
                    line.strip_prefix("async ").unwrap_or(line).starts_with("def test_")
                };
                name.ends_with(".py") && text.lines().any(is_test)
            }
        }
    }

    const fn comment(self) -> &'static str {
        match self {
            Self::JavaScript => "// ",
            Self::Python => "# ",
        }
    }

    /// Where the test in `text` belongs, by its first line.
    fn place(self, text: &str) -> Result<ServerKind> {
        let first = text.lines().next().unwrap_or_default();
        let Some(mark) = first.strip_prefix(self.comment()).and_then(|rest| rest.strip_prefix("e2e: "))
        else {
            return Ok(ServerKind::Shared);
        };
        Ok(match (mark, self) {
            ("own server", _) => ServerKind::Own,
            ("newest", Self::Python) => ServerKind::Newest,
            ("tls", _) => ServerKind::Tls,
            ("fuzz", Self::Python) => ServerKind::Fuzz,
            _ => bail!("`{first}`: nothing runs there"),
        })
    }

    /// Every file of tests with its place, by name; paths are from [`folder`](Self::folder).
    ///
    /// # Errors
    /// A file with tests that its name keeps from being run, or a first line that asks for what there is not.
    pub(crate) fn files(self) -> Result<Vec<(String, ServerKind)>> {
        let folder = self.folder();
        let mut files = Vec::new();
        collect(&folder, &folder, &mut files)?;
        files.sort();
        let mut found = Vec::new();
        for file in files {
            let text = std::fs::read_to_string(folder.join(&file)).with_context(|| file.clone())?;
            let name = file.rsplit('/').next().unwrap_or_default();
            if self.is_test(name) {
                found.push((file.clone(), self.place(&text).with_context(|| file.clone())?));
            } else if self.has_tests(name, &text) {
                bail!("{file} has tests, and its name keeps them from being run");
            }
        }
        Ok(found)
    }

    /// The files of one place.
    ///
    /// # Errors
    /// Those of [`files`](Self::files).
    pub(crate) fn at(self, place: ServerKind) -> Result<Vec<String>> {
        let files = self.files()?.into_iter().filter(|(_, found)| *found == place);
        Ok(files.map(|(file, _)| file).collect())
    }
}

/// Source files below `folder`, but for what was installed.
fn collect(root: &Path, folder: &Path, files: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["node_modules", "__pycache__"].contains(&name.as_str()) && !name.starts_with('.') {
                collect(root, &path, files)?;
            }
        } else if [".mjs", ".js", ".cjs", ".ts", ".py"].iter().any(|end| name.ends_with(end)) {
            files.push(path.strip_prefix(root)?.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_where_a_file_runs() {
        let place = |language: Language, text: &str| language.place(text).ok();
        assert_eq!(place(Language::JavaScript, "import a from 'b'\n"), Some(ServerKind::Shared));
        assert_eq!(place(Language::JavaScript, "// e2e: own server\n"), Some(ServerKind::Own));
        assert_eq!(place(Language::Python, "# e2e: newest\n\"\"\"What.\"\"\"\n"), Some(ServerKind::Newest));
        assert_eq!(place(Language::Python, "# e2e: tls\n"), Some(ServerKind::Tls));
        assert_eq!(place(Language::Python, "# e2e: nowhere\n"), None);
        assert_eq!(place(Language::JavaScript, "// e2e: newest\n"), None, "all generations are in each file");
    }

    #[test]
    fn a_test_is_known_by_what_it_says_whatever_its_file_is_called() {
        assert!(Language::Python.has_tests("files_test.py", "def test_a():\n    pass\n"));
        assert!(Language::Python.has_tests("a.py", "    async def test_a(self):\n"));
        assert!(!Language::Python.has_tests("ending.py", "def leave():\n"));
        assert!(Language::JavaScript.has_tests("a.mjs", "import { test } from 'node:test'\ntest('a', b)\n"));
        assert!(
            !Language::JavaScript
                .has_tests("fixture.mjs", "import { after } from 'node:test'\nafter(stop)\n")
        );
        assert!(!Language::JavaScript.is_test("a.mjs") && Language::JavaScript.is_test("a.test.mjs"));
    }

    #[test]
    fn every_file_here_has_its_place_and_every_place_its_files() {
        for language in Language::ALL {
            let files = language.files().unwrap();
            assert!(files.iter().any(|(_, place)| *place == ServerKind::Shared), "{language:?}: {files:?}");
            assert!(files.iter().any(|(_, place)| *place == ServerKind::Tls), "{language:?}: {files:?}");
        }
        assert!(!Language::Python.at(ServerKind::Newest).unwrap().is_empty());
    }
}
