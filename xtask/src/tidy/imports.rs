//! Which file of a crate imports which: read off paths that begin with `crate`, `super`, `self` or a module's name.
//!
//! A path is followed through re-exports to the file that defines what it names; a re-export itself is no import, for
//! `lib.rs` would else be part of every circle. What only tests compile is left out, and so are comments and texts.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// The modules of a crate, each by its path below the crate (`linux::sys`; the root is the empty one).
#[derive(Default)]
pub(super) struct Modules {
    by_path: BTreeMap<String, Module>,
}

#[derive(Default)]
struct Module {
    /// From the crate's `src`.
    file: String,
    code: String,
    /// What it re-exports: name and its full path.
    exports: BTreeMap<String, Vec<String>>,
    /// Modules of which it re-exports everything.
    globs: Vec<Vec<String>>,
    /// What else it brings in: name and its full path.
    brought: BTreeMap<String, Vec<String>>,
    /// The other paths it names.
    paths: BTreeSet<Vec<String>>,
}

impl Modules {
    /// The modules that `sources`, files of one crate, are.
    pub(super) fn of(sources: &[&Source]) -> Self {
        let mut modules = Self::default();
        for source in sources.iter().filter(|source| !source.is_test()) {
            let Some((_, file)) = source.path.split_once("/src/") else { continue };
            let code = source.shipped().map(|(_, line)| bare(line) + "\n").collect();
            modules.insert(module_of(file), file.to_owned(), code);
        }
        modules
    }

    fn insert(&mut self, path: String, file: String, code: String) {
        let mut module = Module { file, ..Module::default() };
        for (is_exported, use_path, name) in uses(&code) {
            match (is_exported, name.as_str()) {
                (true, "*") => module.globs.push(use_path),
                (true, _) => drop(module.exports.insert(name, use_path)),
                (false, "*") => drop(module.paths.insert([use_path, vec![name]].concat())),
                (false, _) => {
                    module.brought.insert(name, use_path.clone());
                    module.paths.insert(use_path);
                }
            }
        }
        module.paths.extend(written_out(&code));
        module.code = code;
        self.by_path.insert(path, module);
    }

    /// Which file imports which.
    pub(super) fn imports(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let of = |(path, module): (&String, &'_ Module)| -> BTreeSet<&str> {
            let targets = module.paths.iter().filter_map(|named| self.target(path, named, 0));
            targets
                .filter(|target| *target != path)
                .map(|target| self.by_path[target].file.as_str())
                .collect()
        };
        self.by_path.iter().map(|entry| (entry.1.file.as_str(), of(entry))).collect()
    }

    /// The module that defines what `named` names in the module at `from`; `None` for what is no module's of this
    /// crate.
    fn target(&self, from: &str, named: &[String], depth: usize) -> Option<&str> {
        let mut at: Vec<&str> = from.split("::").filter(|part| !part.is_empty()).collect();
        let mut rest = named.iter().map(String::as_str).peekable();
        match rest.peek().copied()? {
            "crate" => {
                at.clear();
                rest.next();
            }
            "self" => drop(rest.next()),
            "super" => {
                while rest.next_if_eq(&"super").is_some() {
                    at.pop()?;
                }
            }
            // A module below, one that a `use` brought, or something of another crate.
            name => {
                let below = at.iter().copied().chain([name]).collect::<Vec<_>>().join("::");
                if !self.by_path.contains_key(&below) {
                    let stands_for = self.by_path.get(from)?.brought.get(name)?;
                    let whole = [stands_for.as_slice(), &named[1..]].concat();
                    let is_other = stands_for.first() != named.first() && depth < 8;
                    return if is_other { self.target(from, &whole, depth + 1) } else { None };
                }
            }
        }
        while let Some(name) = rest.peek() {
            let below = at.iter().copied().chain([*name]).collect::<Vec<_>>().join("::");
            if !self.by_path.contains_key(&below) {
                break;
            }
            at = self.by_path.get_key_value(&below)?.0.split("::").collect();
            rest.next();
        }
        let (path, module) = self.by_path.get_key_value(&at.join("::"))?;
        let item = rest.next();
        // A module that is brought in is imported by what is named through it.
        if item.is_none() && depth == 0 {
            return None;
        }
        // Re-exports of re-exports end somewhere.
        if let (Some(item), true) = (item, depth < 8) {
            if let Some(stands_for) = module.exports.get(item) {
                return self.target(path, stands_for, depth + 1);
            }
            if item != "*" && !defines(&module.code, item) {
                let of = |glob: &Vec<String>| [glob.as_slice(), &[item.to_owned()]].concat();
                let found = module.globs.iter().find_map(|glob| self.target(path, &of(glob), depth + 1));
                return found.or(Some(path));
            }
        }
        Some(path)
    }
}

fn module_of(file: &str) -> String {
    let path = file.strip_suffix(".rs").unwrap_or(file);
    match path {
        "lib" | "main" => String::new(),
        _ => path.strip_suffix("/mod").unwrap_or(path).replace('/', "::"),
    }
}

/// `line` without a comment behind it and without the text between quotation marks.
fn bare(line: &str) -> String {
    let line = line.split("//").next().unwrap_or_default();
    line.split('"').step_by(2).collect()
}

const fn is_of_name(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_'
}

fn defines(code: &str, item: &str) -> bool {
    let kinds = ["fn", "struct", "enum", "trait", "const", "static", "type", "union", "mod", "macro_rules!"];
    kinds.iter().any(|kind| {
        code.match_indices(&format!("{kind} {item}"))
            .any(|(at, found)| !code[at + found.len()..].starts_with(is_of_name))
    })
}

/// Each name that `use` brings: whether it is a re-export, its path, and what it is called here.
fn uses(code: &str) -> Vec<(bool, Vec<String>, String)> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let line_start = rest[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let before = rest[line_start..at].trim();
        let is_use =
            before.is_empty() || before == "pub" || (before.starts_with("pub(") && before.ends_with(')'));
        rest = &rest[at + 4..];
        if !is_use {
            continue;
        }
        let tree = rest.split(';').next().unwrap_or_default();
        branches(tree, &mut Vec::new(), &mut |path, name| {
            found.push((!before.is_empty(), path.to_vec(), name.to_owned()));
        });
    }
    found
}

/// Calls `each` with every path of a `use` tree.
fn branches(tree: &str, before: &mut Vec<String>, each: &mut impl FnMut(&[String], &str)) {
    for branch in split(tree) {
        let n = before.len();
        let (path, group) =
            branch.split_once('{').map_or((branch, None), |(path, group)| (path, Some(group)));
        let (path, alias) = path.split_once(" as ").map_or((path, None), |(path, alias)| (path, Some(alias)));
        before.extend(path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()));
        match group {
            Some(group) => branches(group.trim().strip_suffix('}').unwrap_or(group), before, each),
            None => {
                // `a::{self}` is `a`.
                if before.len() > 1 && before.last().is_some_and(|last| last == "self") {
                    before.pop();
                }
                let name = alias.map_or_else(
                    || before.last().cloned().unwrap_or_default(),
                    |alias| alias.trim().to_owned(),
                );
                if name != "*" {
                    each(before, &name);
                } else if let Some((_, of)) = before.split_last() {
                    each(of, "*");
                }
            }
        }
        before.truncate(n);
    }
}

/// Splits at the commas that are in no braces.
fn split(tree: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, char) in tree.char_indices() {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(tree[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(tree[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

/// Paths in the code itself.
fn written_out(code: &str) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    for line in code.lines().filter(|line| !line.contains("use ") && !line.starts_with("mod ")) {
        let words = line.split(|char: char| !is_of_name(char) && char != ':');
        let paths = words.map(|word| word.trim_matches(':')).filter(|word| word.contains("::"));
        found.extend(
            paths.map(|word| word.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect()),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(files: &[(&str, &str)]) -> Modules {
        let source =
            |(file, text): &(&str, &str)| Source::new(&format!("crates/a/src/{file}"), (*text).to_owned());
        let sources: Vec<Source> = files.iter().map(source).collect();
        Modules::of(&sources.iter().collect::<Vec<_>>())
    }

    #[test]
    fn paths_are_followed_to_the_file_that_defines() {
        let modules = modules(&[
            ("lib.rs", "mod a;\nmod b;\npub use a::A;\npub(super) use b::c::*;\npub struct Here;\n"),
            (
                "a.rs",
                "use crate::Here;\nuse super::b::{self, c::{C, D as E}};\npub struct A;\nfn g() { b::f(); }\n",
            ),
            ("b/mod.rs", "pub mod c;\nfn f() { let _ = c::f(crate::A); }\n"),
            (
                "b/c.rs",
                "use std::fmt;\n// use crate::a::A;\npub struct C;\nfn f() { super::f(); \"crate::a\"; }\n",
            ),
            (
                "d.rs",
                "use crate::{C, a};\nuse super::a::*;\n#[cfg(test)]\nmod tests {\n    use crate::b;\n}\nfn f() { crate::Here; }\n",
            ),
        ]);
        let imports = modules.imports();
        let of = |file: &str| imports[file].iter().copied().collect::<Vec<_>>();
        assert_eq!(of("lib.rs"), [] as [&str; 0]);
        assert_eq!(of("a.rs"), ["b/c.rs", "b/mod.rs", "lib.rs"]);
        assert_eq!(of("b/mod.rs"), ["a.rs", "b/c.rs"]);
        assert_eq!(of("b/c.rs"), ["b/mod.rs"]);
        assert_eq!(of("d.rs"), ["a.rs", "b/c.rs", "lib.rs"]);
    }
}
