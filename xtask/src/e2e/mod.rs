//! The official clients against the real binary: JavaScript SDK (newest and older) and CLI under Node's test runner,
//! Python SDKs under pytest, the OpenAPI document under schemathesis.

mod suites;

pub(crate) use suites::Language;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::install;
use crate::server::Server;
use crate::shell::{self, cargo, output};
use crate::skipped::Skipped;

use suites::ServerKind;

/// What can be asked for by name.
const SUITES: [&str; 4] = ["js", "python", "tls", "fuzz"];

/// Runs the suites named in `selected`, or all.
///
/// # Errors
/// A test that failed, something left behind, or a suite that nobody knows.
pub(crate) fn run(selected: &[&str], skipped: &mut Skipped) -> Result<()> {
    if let Some(unknown) = selected.iter().find(|name| !SUITES.contains(name)) {
        bail!("no end-to-end suite is called {unknown}; there are {}", SUITES.join(", "));
    }
    if !is_root() {
        skipped.add("end-to-end tests", "they make real sandboxes, which needs root");
        return Ok(());
    }
    let wanted = |suite: &str| selected.is_empty() || selected.contains(&suite);
    let binary = build()?;
    if wanted("js") {
        javascript()?;
        for file in Language::JavaScript.at(ServerKind::Own)? {
            against(Server::start(&binary)?, &binary, Tests::node(&[file]), skipped)?;
        }
        let shared = Tests::node(&Language::JavaScript.at(ServerKind::Shared)?);
        against(Server::start(&binary)?, &binary, shared, skipped)?;
    }
    if wanted("python") {
        for file in Language::Python.at(ServerKind::Own)? {
            against(Server::start(&binary)?, &binary, Tests::pytest("newest", &[file])?, skipped)?;
        }
        let shared = Language::Python.at(ServerKind::Shared)?;
        for (generation, more) in
            [("newest", Language::Python.at(ServerKind::Newest)?), ("older", Vec::new())]
        {
            let tests = Tests::pytest(generation, &[shared.clone(), more].concat())?;
            against(Server::start(&binary)?, &binary, tests, skipped)?;
        }
    }
    if wanted("tls") {
        tls(&binary, skipped)?;
    }
    if wanted("fuzz") {
        // On a server of its own: what the fuzzer makes and deletes is nobody else's.
        let tests = Tests::pytest("newest", &Language::Python.at(ServerKind::Fuzz)?)?;
        against(Server::start(&binary)?, &binary, tests, skipped)?;
    }
    Ok(())
}

/// The folder of the JavaScript suites, with what they need installed.
pub(crate) fn javascript() -> Result<PathBuf> {
    let js = Language::JavaScript.folder();
    shell::run(Command::new("npm").args(["ci", "--no-progress", "--loglevel=error"]).current_dir(&js))?;
    Ok(js)
}

/// Over TLS: a server with a certificate that the binary itself made, and clients that are given its authority.
fn tls(binary: &Path, skipped: &mut Skipped) -> Result<()> {
    let js = javascript()?;
    let made = install::home().join(format!("e2e-tls-{}", std::process::id()));
    shell::run(Command::new(binary).args(["tls", "self-signed", "--out"]).arg(&made))?;
    let resolve = format!("--import=file://{}", js.join("resolve-localhost.mjs").display());
    let mut node = Tests::node(&Language::JavaScript.at(ServerKind::Tls)?);
    node.command.env("NODE_OPTIONS", resolve);
    against(Server::start_tls(binary, &made)?, binary, node, skipped)?;
    for generation in ["newest", "older"] {
        let python = Tests::pytest(generation, &Language::Python.at(ServerKind::Tls)?)?;
        against(Server::start_tls(binary, &made)?, binary, python, skipped)?;
    }
    std::fs::remove_dir_all(&made)?;
    Ok(())
}

/// A run of a test runner.
struct Tests {
    command: Command,
    /// Where it writes what became of each test.
    report: PathBuf,
}

impl Tests {
    fn node(files: &[String]) -> Self {
        let report = report();
        let mut command = Command::new("node");
        command.args(["--test", "--test-timeout=600000"]);
        command.args(["--test-reporter=spec", "--test-reporter-destination=stdout", "--test-reporter=junit"]);
        command.arg(format!("--test-reporter-destination={}", report.display()));
        command.args(files).current_dir(Language::JavaScript.folder());
        Self { command, report }
    }

    fn pytest(generation: &str, files: &[String]) -> Result<Self> {
        let folder = Language::Python.folder();
        let requirements = folder.join(format!("requirements-{generation}.txt")).display().to_string();
        let environment = install::python_environment(generation, &["--requirement", &requirements])?;
        let report = report();
        let mut command = Command::new(environment.join("bin/pytest"));
        command.args(["-q", "-rs", "-p", "no:cacheprovider"]);
        command.arg(format!("--junit-xml={}", report.display()));
        command.args(files).current_dir(folder).env("PYTHONDONTWRITEBYTECODE", "1");
        Ok(Self { command, report })
    }
}

fn report() -> PathBuf {
    install::home().join(format!("e2e-{}.xml", std::process::id()))
}

/// Runs `tests` against `server`; what they or it leave behind is an error.
fn against(server: Server, binary: &Path, mut tests: Tests, skipped: &mut Skipped) -> Result<()> {
    let _ = std::fs::remove_file(&tests.report);
    run_against(server, binary, &mut tests.command)?;
    skipped.read(&tests.report)?;
    std::fs::remove_file(&tests.report)?;
    Ok(())
}

/// Runs a program against a server of its own; what it or the server leaves behind is an error.
pub(crate) fn against_a_server(binary: &Path, program: &mut Command) -> Result<()> {
    run_against(Server::start(binary)?, binary, program)
}

fn run_against(server: Server, binary: &Path, program: &mut Command) -> Result<()> {
    let passed = server.run(program);
    let stopped = server.stop(binary);
    passed.and(stopped)
}

pub(crate) fn build() -> Result<PathBuf> {
    // The whole workspace, so that what the unit tests were built from is used again.
    shell::run(&mut cargo(&["build", "--locked", "--workspace", "--bin", "sandscope"]))?;
    let metadata = output(&mut cargo(&["metadata", "--format-version=1", "--no-deps", "--locked"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let target = metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
    Ok(Path::new(target).join("debug/sandscope"))
}

pub(crate) fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}
