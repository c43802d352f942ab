//! `cargo xtask crash`: random `kill -9` rounds, as many as wanted, with seeds that replay them.

use anyhow::{Context as _, Result, bail};

use crate::shell::{cargo, run};

/// Rounds where none are asked for.
const ROUNDS: u64 = 100;

/// Runs the rounds; stops at the first that shows a loss, a repetition or a disagreement, saying how to replay it.
pub(crate) fn run_rounds(options: &[&str]) -> Result<()> {
    let options = Options::parse(options)?;
    let mut test =
        cargo(&["test", "--locked", "--package", "sandscope", "--test", "crash", "--", "--nocapture"]);
    test.env("SANDSCOPE_CRASH_ROUNDS", options.rounds.to_string());
    test.env("SANDSCOPE_CRASH_FROM", options.from.to_string());
    if let Some(seed) = options.seed {
        test.env("SANDSCOPE_CRASH_SEED", seed.to_string());
    }
    run(&mut test)
}

#[derive(Debug, PartialEq, Eq)]
struct Options {
    rounds: u64,
    /// Drawn where not given.
    seed: Option<u64>,
    /// The number of the first round.
    from: u64,
}

impl Options {
    fn parse(options: &[&str]) -> Result<Self> {
        let mut parsed = Self { rounds: ROUNDS, seed: None, from: 0 };
        let mut rest = options.iter();
        while let Some(name) = rest.next() {
            let value = rest.next().with_context(|| format!("{name} needs a number"))?;
            let value = value.parse().with_context(|| format!("{name} {value}"))?;
            match *name {
                "--rounds" => parsed.rounds = value,
                "--seed" => parsed.seed = Some(value),
                "--from" => parsed.from = value,
                other => bail!("unknown option {other}: --rounds, --seed and --from are known"),
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
        assert_eq!(parsed, Options { rounds: 1000, seed: Some(7), from: 0 });
        assert_eq!(Options::parse(&[]).unwrap().rounds, ROUNDS);
        for nonsense in [&["--rounds"][..], &["--rounds", "x"], &["--turns", "3"]] {
            assert!(Options::parse(nonsense).is_err(), "{nonsense:?}");
        }
    }
}
