//! Long use and figures, both through the official SDKs against a server of their own.

use std::process::Command;

use anyhow::Result;

use crate::shell::root;
use crate::skipped::Skipped;
use crate::{e2e, install};

/// What `cargo xtask test` runs: long enough to meet every kind of use many times.
pub(crate) const SHORT: [&str; 4] = ["--minutes", "0.75", "--sandboxes", "8"];

/// A crowd of sandboxes in mixed use; `tests/e2e/python/soak.py` says how. Fails on a wrong answer, and on anything that
/// is held afterwards and was not before: by agents and server while the sandboxes live, by the server once they are
/// gone, by the host once the server is.
pub(crate) fn run(arguments: &[&str], skipped: &mut Skipped) -> Result<()> {
    with_python("soak.py", arguments, skipped)
}

/// A sandbox that does its worst to every pool of the kernel, and a neighbour; `tests/e2e/python/kernel_pools.py` says
/// how. Fails where the neighbour suffers or the kernel does not have its memory back.
pub(crate) fn pools(arguments: &[&str], skipped: &mut Skipped) -> Result<()> {
    with_python("kernel_pools.py", arguments, skipped)
}

/// Prints what a command costs through the SDKs, and what starting the same program costs without them.
pub(crate) fn figures(skipped: &mut Skipped) -> Result<()> {
    with_python("command_round_trip.py", &[], skipped)?;
    if !e2e::is_root() {
        return Ok(());
    }
    let js = e2e::javascript()?;
    against_a_server(Command::new("node").arg("command-round-trip.mjs").current_dir(js))
}

fn with_python(script: &str, arguments: &[&str], skipped: &mut Skipped) -> Result<()> {
    if !e2e::is_root() {
        skipped.add(script, "it makes real sandboxes, which needs root");
        return Ok(());
    }
    let folder = root().join("tests/e2e/python");
    let requirements = folder.join("requirements-newest.txt").display().to_string();
    let environment = install::python_environment("newest", &["--requirement", &requirements])?;
    let mut python = Command::new(environment.join("bin/python"));
    python.arg(script).args(arguments).current_dir(&folder).env("PYTHONDONTWRITEBYTECODE", "1");
    against_a_server(&mut python)
}

fn against_a_server(command: &mut Command) -> Result<()> {
    let binary = e2e::build()?;
    e2e::against_a_server(&binary, command)
}
