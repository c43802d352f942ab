//! The official clients against the real binary: JavaScript SDK (newest and older) and CLI under Node's test runner,
//! Python SDKs under pytest, the OpenAPI document under schemathesis.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::install;
use crate::shell::{self, cargo, output, root};

/// Files of the JavaScript suites; each list has a server of its own.
const JS: &[&[&str]] = &[
    &["description.test.mjs", "lifecycle.test.mjs", "cli.test.mjs"],
    &["commands.test.mjs", "files.test.mjs", "pty.test.mjs", "git.test.mjs", "ports.test.mjs"],
];

/// Files of the Python suites, run with each generation of the SDK.
const PYTHON: &[&str] = &[
    "test_lifecycle.py",
    "test_code_interpreter.py",
    "test_commands.py",
    "test_files.py",
    "test_pty.py",
    "test_git.py",
    "test_ports.py",
];

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
        let js = folder.join("js");
        shell::run(Command::new("npm").args(["ci", "--no-progress", "--loglevel=error"]).current_dir(&js))?;
        let tests = ["--test", "--test-reporter=spec", "--test-timeout=180000"];
        for files in JS {
            against_a_server(&binary, Command::new("node").args(tests).args(*files).current_dir(&js))?;
        }
    }
    if wanted("python") {
        for generation in ["newest", "older"] {
            against_a_server(&binary, &mut pytest(&folder.join("python"), generation, PYTHON)?)?;
        }
    }
    if wanted("fuzz") {
        // On a server of its own: what the fuzzer makes and deletes is nobody else's.
        against_a_server(&binary, &mut pytest(&folder.join("python"), "newest", &["test_openapi.py"])?)?;
    }
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

fn against_a_server(binary: &Path, tests: &mut Command) -> Result<()> {
    let server = Server::start(binary)?;
    let passed = server.run(tests);
    let stopped = server.stop(binary);
    passed.and(stopped)
}

fn build() -> Result<PathBuf> {
    // The whole workspace, so that what the unit tests were built from is used again.
    shell::run(&mut cargo(&["build", "--locked", "--workspace", "--bin", "sandscope"]))?;
    let metadata = output(&mut cargo(&["metadata", "--format-version=1", "--no-deps", "--locked"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let target = metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
    Ok(Path::new(target).join("debug/sandscope"))
}

fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// A server on a free port with a data directory of its own.
struct Server {
    child: Child,
    environment: BTreeMap<String, String>,
    log: PathBuf,
    data: PathBuf,
}

impl Server {
    /// Starts it and reads the lines it prints for a shell to evaluate.
    fn start(binary: &Path) -> Result<Self> {
        let data = install::home().join(format!("e2e-{}", std::process::id()));
        if data.exists() {
            std::fs::remove_dir_all(&data)?;
        }
        std::fs::create_dir_all(&data)?;
        let log = install::home().join("e2e-server.log");
        let arguments = ["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir"];
        let mut command = Command::new(binary);
        command.args(arguments).arg(&data).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(std::fs::File::create(&log)?);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        let stdout = child.stdout.take().context("the server has no standard output")?;
        let mut environment = BTreeMap::new();
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            let (name, value) = line
                .strip_prefix("export ")
                .and_then(|rest| rest.split_once('='))
                .with_context(|| format!("the server printed something a shell cannot evaluate: {line}"))?;
            environment.insert(name.to_owned(), value.trim_matches(['\'', '"']).to_owned());
            // The key is the last line of a first start.
            if name == "E2B_API_KEY" {
                break;
            }
        }
        let mut server = Self { child, environment, log, data };
        if !server.environment.contains_key("E2B_API_KEY") {
            let _ = server.child.kill();
            bail!("the server did not start:\n{}", server.log_tail());
        }
        Ok(server)
    }

    /// Runs `command` with the server's address and key; shows the end of the server's log if it fails.
    fn run(&self, command: &mut Command) -> Result<()> {
        let cleared =
            ["E2B_ACCESS_TOKEN", "E2B_DEBUG", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];
        for name in cleared {
            command.env_remove(name);
        }
        let done = shell::run(command.envs(&self.environment));
        done.with_context(|| format!("the server's log ends with:\n{}", self.log_tail()))
    }

    /// Ends its sandboxes (they would outlive it), asks it to stop and insists that it does so cleanly.
    fn stop(mut self, binary: &Path) -> Result<()> {
        self.run(Command::new(binary).args(["sandbox", "kill", "--all"]))?;
        shell::run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        let deadline = Instant::now() + Duration::from_secs(30);
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                self.child.kill()?;
                bail!("the server did not stop within 30 s of SIGTERM:\n{}", self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        if !status.success() {
            bail!("the server ended with {status}:\n{}", self.log_tail());
        }
        std::fs::remove_dir_all(&self.data)?;
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}
