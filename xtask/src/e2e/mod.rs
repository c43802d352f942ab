//! The official clients against the real binary: JavaScript SDK (newest and older) and CLI under Node's test runner,
//! Python SDKs under pytest, the OpenAPI document under schemathesis.

mod generations;
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
const SUITES: [&str; 5] = ["js", "python", "tls", "generations", "fuzz"];

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
        let proxies = install::proxies()?;
        for (generation, more) in
            [("newest", Language::Python.at(ServerKind::Newest)?), ("older", Vec::new())]
        {
            let mut tests = Tests::pytest(generation, &[shared.clone(), more].concat())?;
            tests.command.env("SANDSCOPE_PROXIES", &proxies);
            against(Server::start(&binary)?, &binary, tests, skipped)?;
        }
    }
    if wanted("tls") {
        tls(&binary, skipped)?;
    }
    if wanted("generations") {
        generations::run(&binary)?;
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
    certificate(binary, |made| {
        let mut node = Tests::node(&Language::JavaScript.at(ServerKind::Tls)?);
        node.command.env("NODE_OPTIONS", resolving_localhost(&js));
        against(Server::start_tls(binary, made)?, binary, node, skipped)?;
        for generation in ["newest", "older"] {
            let python = Tests::pytest(generation, &Language::Python.at(ServerKind::Tls)?)?;
            against(Server::start_tls(binary, made)?, binary, python, skipped)?;
        }
        Ok(())
    })
}

/// A certificate that the binary itself made, for as long as `used` runs.
fn certificate(binary: &Path, used: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let made = install::home().join(format!("e2e-tls-{}", std::process::id()));
    shell::run(Command::new(binary).args(["tls", "self-signed", "--out"]).arg(&made))?;
    used(&made)?;
    std::fs::remove_dir_all(&made)?;
    Ok(())
}

/// What Node is to be told so that it finds names under `.localhost` on every system.
fn resolving_localhost(js: &Path) -> String {
    format!("--import=file://{}", js.join("resolve-localhost.mjs").display())
}

/// The environment of one of the two generations that the Python suites run with.
fn python_environment(generation: &str) -> Result<PathBuf> {
    let requirements = Language::Python.folder().join(format!("requirements-{generation}.txt"));
    install::python_environment(generation, &["--requirement", &requirements.display().to_string()])
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
        let environment = python_environment(generation)?;
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
