//! Tests wait for what they want to see, with a bound, and not for a time in which it has always happened so far. Where
//! a sleep is the load itself, or the pause between two looks, the line above says so: `// sleep: <why>` (`# sleep: `
//! in Python). A test that holds tokio's clock (`start_paused`) may sleep as it likes: nobody waits for it.

use anyhow::{Context as _, Result};

use super::source::Source;
use crate::shell::root;

/// What says that a sleep is meant.
const MARK: &str = "sleep: ";

pub(super) fn faults(sources: &[Source], files: &[String]) -> Result<Vec<String>> {
    let mut faults: Vec<String> = sources.iter().flat_map(check).collect();
    // Samples are printed elsewhere, and tested as they are.
    for file in files.iter().filter(|file| file.starts_with("tests/e2e/") && !file.contains("/samples/")) {
        if file.ends_with(".py") || file.ends_with(".mjs") {
            let text = std::fs::read_to_string(root().join(file)).with_context(|| file.clone())?;
            faults.extend(check_script(file, &text));
        }
    }
    Ok(faults)
}

fn check(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let holds_clock = |n: usize| {
        let above =
            lines[..n].iter().rev().find(|line| line.contains("#[tokio::test") || line.trim() == "#[test]");
        above.is_some_and(|line| line.contains("start_paused = true"))
    };
    let meant = |n: usize| is_marked(&lines, n, "//") || holds_clock(n);
    let sleeps = source.tested().filter(|(n, line)| is_sleep(line) && !meant(*n));
    sleeps
        .map(|(n, _)| {
            format!("{}:{n}: wait for a condition (`eventually`), or say `// {MARK}<why>` above", source.path)
        })
        .collect()
}

/// Whether line `n`, or the one above it, has a comment with the mark.
fn is_marked(lines: &[&str], n: usize, comment: &str) -> bool {
    let above = n.checked_sub(2).and_then(|index| lines.get(index)).copied().unwrap_or_default();
    [above, lines[n - 1]].iter().any(|line| line.contains(&format!("{comment} {MARK}")))
}

/// The same for an end-to-end test.
fn check_script(file: &str, text: &str) -> Vec<String> {
    let (comment, sleeps): (_, &[&str]) = if file.ends_with(".py") {
        ("#", &["time.sleep(", "asyncio.sleep("])
    } else {
        ("//", &["setTimeout(resolve"])
    };
    let lines: Vec<&str> = text.lines().collect();
    let found = (1..=lines.len()).filter(|n| {
        sleeps.iter().any(|sleep| lines[n - 1].contains(sleep)) && !is_marked(&lines, *n, comment)
    });
    found
        .map(|n| {
            format!("{file}:{n}: wait for a condition (`eventually`), or say `{comment} {MARK}<why>` above")
        })
        .collect()
}

fn is_sleep(line: &str) -> bool {
    let called = ["thread::sleep", "time::sleep"].iter().any(|name| line.contains(name));
    called || line.starts_with("use ") && line.contains("time::{") && line.contains("sleep")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n_faults(path: &str, text: &str) -> usize {
        check(&Source::new(path, text.to_owned())).len()
    }

    #[test]
    fn a_held_clock_needs_none() {
        let sleep = format!("async fn a() {{\n    tokio::time::{}(PAUSE).await;\n}}\n", "sleep");
        assert_eq!(
            n_faults("crates/a/tests/b.rs", &format!("#[tokio::test(start_paused = true)]\n{sleep}")),
            0
        );
        assert_eq!(n_faults("crates/a/tests/b.rs", &format!("#[tokio::test]\n{sleep}")), 1);
        let held = "#[tokio::test(start_paused = true)]\nasync fn c() {}\n#[test]\n";
        assert_eq!(n_faults("crates/a/tests/b.rs", &format!("{held}{sleep}")), 1);
    }

    #[test]
    fn scripts_are_held_to_the_same() {
        assert_eq!(check_script("a.py", "time.sleep(1)\n").len(), 1);
        assert!(check_script("a.py", "# sleep: the pause between two looks\ntime.sleep(1)\n").is_empty());
        assert_eq!(check_script("a.mjs", "new Promise((resolve) => setTimeout(resolve, 5))\n").len(), 1);
    }

    #[test]
    fn a_sleep_in_a_test_needs_a_reason() {
        let sleep = format!("    tokio::time::{}(PAUSE).await;\n", "sleep");
        assert_eq!(n_faults("crates/a/tests/b.rs", &sleep), 1);
        assert_eq!(n_faults("crates/a/tests/b.rs", &format!("    // {MARK}the load itself\n{sleep}")), 0);
        assert_eq!(n_faults("crates/a/src/b.rs", &sleep), 0, "it ships");
        assert_eq!(n_faults("crates/a/src/b.rs", &format!("#[cfg(test)]\nmod tests {{\n{sleep}}}\n")), 1);
    }
}
