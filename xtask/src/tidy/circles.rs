//! No circle of imports is larger than three files: to understand one of them a reader would have to read them all.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::Modules;
use super::source::Source;

/// Files in a circle.
const MOST: usize = 3;

type Imports<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

pub(super) fn faults(sources: &[Source]) -> Vec<String> {
    let mut rooms = BTreeMap::<&str, Vec<&Source>>::new();
    for source in sources {
        if let Some(room) = source.room() {
            rooms.entry(room).or_default().push(source);
        }
    }
    rooms.into_iter().flat_map(|(room, sources)| faults_of(room, &sources)).collect()
}

fn faults_of(room: &str, sources: &[&Source]) -> Vec<String> {
    let modules = Modules::of(sources);
    let circles = circles(&modules.imports()).into_iter().filter(|circle| circle.len() > MOST);
    circles
        .map(|circle| {
            format!("{room}: a circle of imports over {} files: {}", circle.len(), circle.join(", "))
        })
        .collect()
}

/// The circles: files that all reach each other, each in order of names.
fn circles<'a>(imports: &Imports<'a>) -> Vec<Vec<&'a str>> {
    let reached: Imports<'a> = imports.keys().map(|file| (*file, reached_from(imports, file))).collect();
    let mut circles = BTreeSet::new();
    for (file, reaches) in &reached {
        let circle: Vec<&str> = reaches
            .iter()
            .copied()
            .filter(|other| reached.get(other).is_some_and(|back| back.contains(file)))
            .collect();
        if !circle.is_empty() {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

fn reached_from<'a>(imports: &Imports<'a>, file: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = imports.get(file).into_iter().flatten().copied().collect();
    while let Some(next) = open.pop() {
        if reached.insert(next) {
            open.extend(imports.get(next).into_iter().flatten());
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_what_reaches_itself_and_nothing_beside_it() {
        let imports =
            [("a", vec!["b"]), ("b", vec!["c", "d"]), ("c", vec!["a"]), ("d", vec![]), ("e", vec!["a"])];
        let imports = imports.into_iter().map(|(from, to)| (from, to.into_iter().collect())).collect();
        assert_eq!(circles(&imports), [["a", "b", "c"]]);
    }
}
