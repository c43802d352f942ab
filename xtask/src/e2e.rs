//! The official clients against the real binary: JavaScript SDK (newest and older) and CLI under Node's test runner,
//! Python SDKs under pytest, the OpenAPI document under schemathesis.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::install;
use crate::server::Server;
use crate::shell::{self, cargo, output, root};

/// Files of the JavaScript suites; each list has a server of its own.
const JS: &[&[&str]] = &[
    // Its webhook is told of every sandbox of the team.
    &["description.test.mjs"],
    &[
        "lifecycle.test.mjs",
        "cli.test.mjs",
        "commands.test.mjs",
        "files.test.mjs",
        "uploads.test.mjs",
        "watch.test.mjs",
        "pty.test.mjs",
        "git.test.mjs",
        "ports.test.mjs",
        "file-urls.test.mjs",
        "webhooks.test.mjs",
    ],
];

/// Files of the Python suites, run with each generation of the SDK.
const PYTHON: &[&str] = &[
    "test_lifecycle.py",
    "test_code_interpreter.py",
    "test_commands.py",
    "test_files.py",
    "test_uploads.py",
    "test_watch.py",
    "test_pty.py",
    "test_git.py",
    "test_ports.py",
    "test_file_urls.py",
];

/// What only the newest needs to run: it is about us, not about the SDK.
const NEWEST: &[&str] = &["test_differential.py", "test_webhooks.py", "test_otlp.py", "test_grafana.py"];

/// Runs the suites named in `selected`, or all.
pub(crate) fn run(selected: &[&str]) -> Result<()> {
    if !is_root() {
        println!("SKIPPED end-to-end tests: they make real sandboxes, which needs root");
        return Ok(());
    }
    let wanted = |suite: &str| selected.is_empty() || selected.contains(&suite);
    let binary = build()?;
    let folder = root().join("tests/e2e");
    if wanted("js") {
        let js = javascript()?;
        let tests = ["--test", "--test-reporter=spec", "--test-timeout=600000"];
        for files in JS {
            against_a_server(&binary, Command::new("node").args(tests).args(*files).current_dir(&js))?;
        }
    }
    if wanted("python") {
        for (generation, more) in [("newest", NEWEST), ("older", &[])] {
            let tests = [PYTHON, more].concat();
            against_a_server(&binary, &mut pytest(&folder.join("python"), generation, &tests)?)?;
        }
    }
    if wanted("tls") {
        tls(&binary, &folder)?;
    }
    if wanted("fuzz") {
        // On a server of its own: what the fuzzer makes and deletes is nobody else's.
        against_a_server(&binary, &mut pytest(&folder.join("python"), "newest", &["test_openapi.py"])?)?;
    }
    Ok(())
}

/// The folder of the JavaScript suites, with what they need installed.
pub(crate) fn javascript() -> Result<PathBuf> {
    let js = root().join("tests/e2e/js");
    shell::run(Command::new("npm").args(["ci", "--no-progress", "--loglevel=error"]).current_dir(&js))?;
    Ok(js)
}

/// Over TLS: a server with a certificate that the binary itself made, and clients that are given its authority.
fn tls(binary: &Path, folder: &Path) -> Result<()> {
    let js = javascript()?;
    let made = install::home().join(format!("e2e-tls-{}", std::process::id()));
    shell::run(Command::new(binary).args(["tls", "self-signed", "--out"]).arg(&made))?;
    let resolve = format!("--import=file://{}", js.join("resolve-localhost.mjs").display());
    let mut node = Command::new("node");
    node.args(["--test", "--test-reporter=spec", "--test-timeout=600000", "tls.test.mjs"]).current_dir(&js);
    against(Server::start_tls(binary, &made)?, binary, node.env("NODE_OPTIONS", resolve))?;
    for generation in ["newest", "older"] {
        let mut python = pytest(&folder.join("python"), generation, &["test_tls.py"])?;
        against(Server::start_tls(binary, &made)?, binary, &mut python)?;
    }
    std::fs::remove_dir_all(&made)?;
    Ok(())
}

fn pytest(folder: &Path, generation: &str, tests: &[&str]) -> Result<Command> {
    let requirements = folder.join(format!("requirements-{generation}.txt")).display().to_string();
    let environment = install::python_environment(generation, &["--requirement", &requirements])?;
    let mut command = Command::new(environment.join("bin/pytest"));
    command.args(["-q", "-rs", "-p", "no:cacheprovider"]).args(tests).current_dir(folder);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// Runs `tests` against a server of their own; what they or it leave behind is an error.
pub(crate) fn against_a_server(binary: &Path, tests: &mut Command) -> Result<()> {
    against(Server::start(binary)?, binary, tests)
}

fn against(server: Server, binary: &Path, tests: &mut Command) -> Result<()> {
    let passed = server.run(tests);
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
