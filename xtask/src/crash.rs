//! `cargo xtask crash`: random `kill -9` rounds, as many as wanted, with seeds that replay them; with `--webhooks` those
//! that are about deliveries. `cargo xtask replay`: a replay of as many events as wanted.

use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::shell::{cargo, run};

/// Rounds where none are asked for.
const ROUNDS: u64 = 100;
/// Events replayed where no number is asked for.
const EVENTS: u64 = 100_000;

/// Runs the rounds; stops at the first that shows a loss, a repetition or a disagreement, saying how to replay it.
pub(crate) fn run_rounds(options: &[&str]) -> Result<()> {
    let options = Options::parse(options)?;
    let (mut test, prefix) = match options.webhooks {
        false => (one_test("crash", ""), "SANDSCOPE_CRASH"),
        true => (one_test("webhooks", "crash::"), "SANDSCOPE_WEBHOOK_CRASH"),
    };
    test.env(format!("{prefix}_ROUNDS"), options.rounds.to_string());
    test.env(format!("{prefix}_FROM"), options.from.to_string());
    if let Some(seed) = options.seed {
        test.env(format!("{prefix}_SEED"), seed.to_string());
    }
    run(&mut test)
}

/// Replays a long log, once without and once with a `kill -9` in the middle.
pub(crate) fn replay(options: &[&str]) -> Result<()> {
    let n_events = match options {
        [] => EVENTS,
        ["--events", n] => n.parse().with_context(|| format!("--events {n}"))?,
        other => bail!("unknown options {other:?}: --events N is known"),
    };
    ensure!(n_events > 0, "there is nothing to replay");
    run(one_test("webhooks", "replay::").env("SANDSCOPE_REPLAY_EVENTS", n_events.to_string()))
}

/// The tests of the binary's `file` whose names begin with `filter`, with what they print.
fn one_test(file: &str, filter: &str) -> Command {
    cargo(&["test", "--locked", "--package", "sandscope", "--test", file, "--", "--nocapture", filter])
}

#[derive(Debug, PartialEq, Eq)]
struct Options {
    /// Those about deliveries.
    webhooks: bool,
    rounds: u64,
    /// Drawn where not given.
    seed: Option<u64>,
    /// The number of the first round.
    from: u64,
}

impl Options {
    fn parse(options: &[&str]) -> Result<Self> {
        let mut parsed = Self { webhooks: false, rounds: ROUNDS, seed: None, from: 0 };
        let mut rest = options.iter();
        while let Some(name) = rest.next() {
            if *name == "--webhooks" {
                parsed.webhooks = true;
                continue;
            }
            let value = rest.next().with_context(|| format!("{name} needs a number"))?;
            let value = value.parse().with_context(|| format!("{name} {value}"))?;
            match *name {
                "--rounds" => parsed.rounds = value,
                "--seed" => parsed.seed = Some(value),
                "--from" => parsed.from = value,
                other => bail!("unknown option {other}: --webhooks, --rounds, --seed and --from are known"),
            }
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_in_any_order_and_nonsense_is_refused() {
        let parsed = Options::parse(&["--seed", "7", "--rounds", "1000"]).unwrap();
        assert_eq!(parsed, Options { webhooks: false, rounds: 1000, seed: Some(7), from: 0 });
        assert!(Options::parse(&["--webhooks", "--rounds", "2"]).unwrap().webhooks);
        assert_eq!(Options::parse(&[]).unwrap().rounds, ROUNDS);
        for nonsense in [&["--rounds"][..], &["--rounds", "x"], &["--turns", "3"]] {
            assert!(Options::parse(nonsense).is_err(), "{nonsense:?}");
        }
    }
}
