//! House rules by machine.
//!
//! - `cargo xtask test`: everything that must pass, installing what it needs;
//! - `cargo xtask tidy`: the dependency table, the file budget, banned names;
//! - `cargo xtask e2e`: the official clients against the real binary;
//! - `cargo xtask soak`: many sandboxes in use for long, and nothing left of it;
//! - `cargo xtask pools`: a sandbox that takes what it can of every pool of the kernel, beside a neighbour;
//! - `cargo xtask bench-sdk`: what a command costs through the official SDKs;
//! - `cargo xtask crash`: the server killed at random, as often as wanted, checked after every time; `--webhooks` with
//!   200 events per second on their way;
//! - `cargo xtask replay`: a long log sent to a webhook again, also over a kill;
//! - `cargo xtask openapi`: writes the OpenAPI document to `docs/openapi.json`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its terminal")]

mod crash;
mod e2e;
mod footprint;
mod install;
mod leftovers;
mod neighbours;
mod server;
mod shell;
mod skipped;
mod soak;
mod steps;
mod tidy;
mod trail;
mod versions;

use std::process::ExitCode;
use std::time::Instant;

use skipped::Skipped;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["test"] => steps::test(),
        ["tidy"] => tidy::run(),
        ["e2e", filter @ ..] => reported(|skipped| e2e::run(filter, skipped)),
        ["soak", arguments @ ..] => reported(|skipped| soak::run(arguments, skipped)),
        ["pools", arguments @ ..] => reported(|skipped| soak::pools(arguments, skipped)),
        ["bench-sdk"] => reported(soak::figures),
        ["openapi"] => steps::openapi(),
        ["crash", options @ ..] => crash::run_rounds(options),
        ["replay", options @ ..] => crash::replay(options),
        _ => {
            eprintln!(
                "usage: cargo xtask test | tidy | e2e [js|python|tls|generations|fuzz]… \
                 | crash [--webhooks] [--rounds N] [--seed N] [--from N] | replay [--events N] \
                 | soak [--minutes N] [--sandboxes N] | pools [--minutes N] | bench-sdk | openapi"
            );
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs `body` and says what of it was skipped.
fn reported(body: impl FnOnce(&mut Skipped) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut skipped = Skipped::default();
    body(&mut skipped)?;
    println!("\n{}", skipped.verdict(started.elapsed()));
    Ok(())
}
