//! Domain crates wait by the `Clock` they are given and not by the runtime's: a test that steps the clock must reach
//! every wait. What bounds a socket or the end of the process is a matter of real time, and named here.
//!
//! Reading the machine's clock is clippy's to refuse (`clippy.toml`, `lints.rs`).

use super::lints::AMBIENT;
use super::source::Source;

/// Files and folders that may wait in real time, and for what.
const REAL_TIME: &[(&str, &str)] = &[
    ("crates/agent-link/src/logs.rs", "an agent that stops answering"),
    ("crates/api/src/body.rs", "a client that stops sending"),
    ("crates/api/src/live_metrics.rs", "a client that stops reading"),
    ("crates/client/src/", "a server that stops answering"),
    ("crates/edge/src/signed.rs", "a client that waits its turn"),
    ("crates/lifecycle/src/lifecycle.rs", "how long the process may take to end"),
    ("crates/webhooks/src/attempt.rs", "how long a receiver took"),
    ("crates/webhooks/src/deliverer.rs", "idle connections"),
    ("crates/webhooks/src/supervisor.rs", "how long the process may take to end"),
];

pub(super) fn faults(sources: &[Source]) -> Vec<String> {
    check(sources, REAL_TIME)
}

fn check(sources: &[Source], exceptions: &[(&str, &str)]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut needed = Vec::new();
    for source in sources.iter().filter(|source| is_domain(source)) {
        let exception = exceptions.iter().find(|(prefix, _)| source.path.starts_with(prefix));
        for (n, _) in source.shipped().filter(|(_, line)| line.contains("tokio::time")) {
            match exception {
                Some((prefix, _)) => needed.push(*prefix),
                None => {
                    faults.push(format!("{}:{n}: waits by the runtime's clock; take a `Clock`", source.path));
                }
            }
        }
    }
    let left = exceptions.iter().filter(|(prefix, _)| !needed.contains(prefix));
    faults.extend(
        left.map(|(prefix, _)| format!("{prefix} does not wait in real time: take it out of time.rs")),
    );
    faults
}

fn is_domain(source: &Source) -> bool {
    source.room().is_some_and(|room| AMBIENT.iter().all(|(name, _)| *name != room))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, line: &str) -> [Source; 1] {
        [Source::new(path, format!("{line}\n"))]
    }

    #[test]
    fn a_wait_by_the_runtimes_clock_is_a_fault_but_in_tests_and_where_it_is_named() {
        let wait = "tokio::time::timeout(LIMIT, done).await;";
        assert_eq!(check(&source("crates/store/src/a.rs", wait), &[]).len(), 1);
        assert_eq!(check(&source("crates/store/src/a.rs", "use tokio::time::timeout;"), &[]).len(), 1);
        assert!(check(&source("crates/store/src/a_tests.rs", wait), &[]).is_empty());
        assert!(check(&source("crates/agent/src/a.rs", wait), &[]).is_empty());
        let exceptions = [("crates/store/src/", "a disk that hangs")];
        assert!(check(&source("crates/store/src/a.rs", wait), &exceptions).is_empty());
        assert_eq!(check(&source("crates/store/src/a.rs", "fn a() {}"), &exceptions).len(), 1);
    }
}
