//! How long a file and how large a crate may be.
//!
//! A file counts whole, with its comments and the tests inside it: that is what somebody has to scroll through. A crate
//! counts the lines that ship: neither blank nor comment, tests apart.

use std::collections::BTreeMap;

use super::source::Source;

/// Lines a file may have, of tests too, and from where it is named to be looked at again.
const FILE: Limit = Limit { most: 400, look_again: 300 };
/// Lines of code a crate may ship.
const CRATE: usize = 7_000;

/// Files that are longer for now, and why.
const LONG_FILES: &[(&str, &str)] = &[];

/// Crates that are larger for now, and why.
const LARGE_CRATES: &[(&str, &str)] = &[];

struct Limit {
    most: usize,
    look_again: usize,
}

pub(super) fn faults(sources: &[Source]) -> Vec<String> {
    let mut faults = files(sources, LONG_FILES);
    faults.extend(crates(sources, LARGE_CRATES));
    faults
}

fn files(sources: &[Source], exceptions: &[(&str, &str)]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut needed = Vec::new();
    for source in sources {
        let n_lines = source.n_lines();
        let path = source.path.as_str();
        if n_lines > FILE.most {
            match exceptions.iter().find(|(file, _)| *file == path) {
                Some((file, reason)) => {
                    needed.push(*file);
                    println!("    {path} has {n_lines} lines: {reason}");
                }
                None => {
                    faults.push(format!("{path} has {n_lines} lines, {} are the limit: split it", FILE.most));
                }
            }
        } else if n_lines > FILE.look_again {
            println!("    look again at {path}: {n_lines} lines");
        }
    }
    faults.extend(unneeded(exceptions, &needed));
    faults
}

fn crates(sources: &[Source], exceptions: &[(&str, &str)]) -> Vec<String> {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for source in sources {
        if let Some(room) = source.room() {
            *sizes.entry(room).or_default() += source.shipped().count();
        }
    }
    let mut faults = Vec::new();
    let mut needed = Vec::new();
    for (room, n_lines) in sizes.into_iter().filter(|(_, n_lines)| *n_lines > CRATE) {
        match exceptions.iter().find(|(name, _)| *name == room) {
            Some((name, reason)) => {
                needed.push(*name);
                println!("    crate {room} has {n_lines} lines of code: {reason}");
            }
            None => faults
                .push(format!("crate {room} has {n_lines} lines of code, {CRATE} are the limit: split it")),
        }
    }
    faults.extend(unneeded(exceptions, &needed));
    faults
}

fn unneeded(exceptions: &[(&str, &str)], needed: &[&str]) -> Vec<String> {
    let left = exceptions.iter().filter(|(name, _)| !needed.contains(name));
    left.map(|(name, _)| format!("{name} needs no exception any more: take it out of budget.rs")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, n_lines: usize) -> Source {
        Source::new(path, "let x = 1;\n".repeat(n_lines))
    }

    #[test]
    fn a_file_counts_whole_whether_it_ships_or_not() {
        assert!(files(&[source("crates/a/src/lib.rs", FILE.most)], &[]).is_empty());
        assert_eq!(files(&[source("crates/a/src/lib.rs", FILE.most + 1)], &[]).len(), 1);
        let inline = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    //\n".repeat(FILE.most));
        assert_eq!(files(&[Source::new("crates/a/src/lib.rs", inline)], &[]).len(), 1);
        assert_eq!(files(&[source("crates/a/tests/all.rs", FILE.most + 1)], &[]).len(), 1);
    }

    #[test]
    fn an_exception_nobody_needs_is_a_fault() {
        let exceptions = [("crates/a/src/lib.rs", "for now")];
        assert!(files(&[source("crates/a/src/lib.rs", FILE.most + 1)], &exceptions).is_empty());
        assert_eq!(files(&[source("crates/a/src/lib.rs", FILE.most)], &exceptions).len(), 1);
        assert_eq!(files(&[], &exceptions).len(), 1, "the file is gone");
    }

    #[test]
    fn a_crate_counts_what_ships_of_it() {
        let many = |path: &str| source(path, CRATE / 2 + 1);
        assert_eq!(crates(&[many("crates/a/src/b.rs"), many("crates/a/src/c.rs")], &[]).len(), 1);
        assert!(crates(&[many("crates/a/src/b.rs"), many("crates/a/src/c_tests.rs")], &[]).is_empty());
        assert!(crates(&[many("crates/a/src/b.rs"), many("crates/d/src/c.rs")], &[]).is_empty());
    }
}
