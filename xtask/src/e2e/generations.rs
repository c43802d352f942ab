//! Generations of the official SDKs that users still have, each through one short life of a sandbox: over TLS with the
//! domain and the key alone, as all of them can, and over plain HTTP with the printed addresses, as the later ones can.
//!
//! They are found by name: `tests/e2e/generations/python/e2b-*.txt` are what `pip` installs, one environment each;
//! every dependency called `e2b-…` of `tests/e2e/generations/js/package.json` is a generation of the other language.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::{Language, certificate, resolving_localhost};
use crate::server::Server;
use crate::{install, shell};

/// At one time: they mostly wait.
const AT_ONCE: usize = 4;

/// One generation of one language, and how its life is run.
struct Generation {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
}

/// Runs them all.
pub(super) fn run(binary: &Path) -> Result<()> {
    let began = Instant::now();
    let mut generations = python()?;
    generations.extend(javascript()?);
    let installed = began.elapsed();
    certificate(binary, |made| {
        let server = Server::start_tls(binary, made)?;
        lives("TLS", &server, &generations).and(server.stop(binary))
    })?;
    let server = Server::start(binary)?;
    lives("plain HTTP", &server, &generations).and(server.stop(binary))?;
    let (n, took) = (generations.len(), began.elapsed());
    println!("    {n} generations of the SDKs, in {took:.0?}, of which {installed:.0?} to install");
    Ok(())
}

fn folder() -> PathBuf {
    shell::root().join("tests/e2e/generations")
}

fn python() -> Result<Vec<Generation>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder().join("python"))? {
        let file = entry?.path();
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        ensure!(name.starts_with("e2b-"), "{}: which generation is this?", file.display());
        files.push((name, file));
    }
    files.sort();
    ensure!(!files.is_empty(), "no generation of the Python SDK is found");
    let smoke = folder().join("smoke.py").display().to_string();
    let environments = install::python_environments(&files)?;
    let generations = files.into_iter().zip(environments).map(|((name, _), environment)| Generation {
        name: format!("Python {name}"),
        program: environment.join("bin/python"),
        arguments: vec![smoke.clone()],
    });
    // Those of the suites are generations as well, and installed.
    let suites = ["older", "newest"].map(|name| -> Result<Generation> {
        let environment = super::python_environment(name)?;
        let (program, name) = (environment.join("bin/python"), format!("Python {name}"));
        Ok(Generation { name, program, arguments: vec![smoke.clone()] })
    });
    generations.map(Ok).chain(suites).collect()
}

fn javascript() -> Result<Vec<Generation>> {
    let js = folder().join("js");
    shell::run(Command::new("npm").args(["ci", "--no-progress", "--loglevel=error"]).current_dir(&js))?;
    let package: serde_json::Value = serde_json::from_slice(&std::fs::read(js.join("package.json"))?)?;
    let dependencies = package["dependencies"].as_object().context("no dependencies")?;
    let smoke = folder().join("smoke.mjs").display().to_string();
    let names = dependencies.keys().filter(|name| name.starts_with("e2b-"));
    let generations: Vec<_> = names
        .map(|name| Generation {
            name: format!("JavaScript {name}"),
            program: "node".into(),
            arguments: vec![smoke.clone(), name.clone()],
        })
        .collect();
    ensure!(!generations.is_empty(), "no generation of the JavaScript SDK is found");
    Ok(generations)
}

/// Every generation's life against `server`, some at once; an error names all that failed.
fn lives(over: &str, server: &Server, generations: &[Generation]) -> Result<()> {
    let (left, failed) = (Mutex::new(generations.iter()), Mutex::new(Vec::new()));
    let next = || left.lock().ok()?.next();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(generation) = next() {
                    if let Err(error) = life(server, generation)
                        && let Ok(mut failed) = failed.lock()
                    {
                        failed.push(format!("{}: {error:#}", generation.name));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_default();
    ensure!(failed.is_empty(), "over {over}:\n{}", failed.join("\n"));
    Ok(())
}

fn life(server: &Server, generation: &Generation) -> Result<()> {
    let mut command = Command::new(&generation.program);
    command.args(&generation.arguments).stdin(Stdio::null()).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("NODE_OPTIONS", resolving_localhost(&Language::JavaScript.folder()));
    server.run(&mut command)
}
