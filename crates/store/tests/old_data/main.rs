//! What a release has written opens for ever: each fixture is a data directory with the answers that the release which
//! wrote it gave. See `tests/fixtures/README.md`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod answers;
mod contents;
mod notices;
mod nouns;

use std::path::{Path, PathBuf};

use sandscope_store::{Store, StoreOptions};
use serde_json::Value;
use tempfile::TempDir;

use crate::nouns::{SetClock, sealer};

const ANSWERS: &str = "answers.json";

fn fixtures() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let found = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = found.filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

fn is_database(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "sqlite")
}

fn copy_databases(from: &Path, to: &Path) {
    let files = std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path());
    for path in files.filter(|path| is_database(path)) {
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

async fn answers_of(dir: &Path) -> Value {
    let options = StoreOptions { sealer: Some(sealer()), ..StoreOptions::default() };
    let store = Store::open_options(dir, SetClock::new(7_300), options).unwrap();
    let answers = answers::answers(&store).await;
    store.close().await;
    answers
}

/// The first place where two answers differ: the whole of them is too long to read.
fn difference(expected: &Value, found: &Value, place: &str) -> Option<String> {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            let keys: std::collections::BTreeSet<_> = expected.keys().chain(found.keys()).collect();
            keys.into_iter().find_map(|key| {
                let value = |of: &serde_json::Map<String, Value>| of.get(key).cloned().unwrap_or_default();
                difference(&value(expected), &value(found), &format!("{place}/{key}"))
            })
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            let pairs = expected.iter().zip(found).enumerate();
            pairs.into_iter().find_map(|(n, (one, two))| difference(one, two, &format!("{place}/{n}")))
        }
        _ => (expected != found).then(|| format!("{place}: was {expected}\n  is now {found}")),
    }
}

/// The sealed blocks of the busiest sandbox as files of their own, with what they say.
async fn single_blocks(dir: &Path) {
    let copy = TempDir::new().unwrap();
    copy_databases(dir, copy.path());
    let blocks = dir.join("blocks");
    std::fs::create_dir(&blocks).unwrap();
    let connection = rusqlite::Connection::open(copy.path().join("samples.sqlite")).unwrap();
    let store = Store::open(copy.path(), SetClock::new(7_300)).unwrap();
    for level_s in [0, 30, 300] {
        let data: Vec<u8> = connection
            .query_row(
                "SELECT data FROM blocks JOIN series ON series.no = series WHERE level = ? AND sandbox_id = ?",
                rusqlite::params![level_s, nouns::sandbox_id(3).as_str()],
                |row| row.get(0),
            )
            .unwrap();
        std::fs::write(blocks.join(format!("level-{level_s}.block")), data).unwrap();
        let text = answers::sealed_text(&store, &nouns::sandbox_id(3), level_s).await;
        std::fs::write(blocks.join(format!("level-{level_s}.txt")), text).unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn what_earlier_releases_wrote_opens_and_answers_the_same() {
    let fixtures = fixtures();
    assert!(!fixtures.is_empty());
    for fixture in fixtures {
        let dir = TempDir::new().unwrap();
        copy_databases(&fixture, dir.path());
        let expected = std::fs::read_to_string(fixture.join(ANSWERS)).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        // Once as the upgrade finds it, once as it left it.
        for pass in ["upgraded", "opened again"] {
            let found = answers_of(dir.path()).await;
            let difference = difference(&expected, &found, "");
            assert_eq!(difference, None, "{}, {pass}", fixture.display());
        }
    }
}

/// Also how a release makes its fixture: what this leaves in `target/tmp/old-data` is copied by hand.
#[tokio::test]
async fn this_release_writes_a_directory_that_answers_the_same_twice() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("old-data");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).unwrap();
    }
    contents::write(&dir).await;
    single_blocks(&dir).await;
    let files = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let is_more = |path: &Path| path.is_file() && !is_database(path) && !path.ends_with("facts.reserve");
    let others: Vec<_> = files.filter(|path| is_more(path)).collect();
    assert!(others.is_empty(), "not everything is in the files themselves: {others:?}");
    let copy = TempDir::new().unwrap();
    copy_databases(&dir, copy.path());
    let answers = answers_of(copy.path()).await;
    std::fs::write(dir.join(ANSWERS), format!("{answers:#}\n")).unwrap();
    assert_eq!(answers_of(copy.path()).await, answers);
}
