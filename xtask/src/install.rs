//! What the tests need beyond Rust, Node and Python, installed where it is missing.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::shell::{cargo, exists, root, run};

/// Where tools and environments of the tests live: under the target directory, so that a clean clone starts clean.
pub(crate) fn home() -> PathBuf {
    target().join("xtask")
}

/// Cargo's target directory.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Programs and the Debian packages that bring them.
const SYSTEM: [(&str, &[&str], &str); 6] = [
    ("mkfs.ext4", &["-V"], "e2fsprogs"),
    ("cc", &["--version"], "build-essential"),
    ("node", &["--version"], "nodejs"),
    ("npm", &["--version"], "npm"),
    ("promtool", &["--version"], "prometheus"),
    ("faketime", &["--version"], "faketime"),
];

pub(crate) fn tools() -> Result<()> {
    let missing: Vec<&str> = SYSTEM
        .iter()
        .filter(|(program, arguments, _)| !exists(program, arguments))
        .map(|(_, _, package)| *package)
        .collect();
    if !missing.is_empty() {
        debian(&missing)?;
    }
    cargo_tool("cargo-nextest", &["nextest", "--version"])?;
    cargo_tool("cargo-machete", &["machete", "--version"])?;
    cargo_tool("cargo-deny", &["deny", "--version"])?;
    Ok(())
}

fn debian(packages: &[&str]) -> Result<()> {
    if !exists("apt-get", &["--version"]) {
        bail!("please install {} (Debian's names; there is no apt-get here to do it)", packages.join(", "));
    }
    run(Command::new("apt-get").arg("update"))?;
    let install = ["install", "--yes", "--no-install-recommends"];
    run(Command::new("apt-get").args(install).args(packages).env("DEBIAN_FRONTEND", "noninteractive"))
}

fn cargo_tool(package: &str, version: &[&str]) -> Result<()> {
    if exists("cargo", version) {
        return Ok(());
    }
    println!("    installing {package}");
    // Unoptimised: each runs once or twice here, and builds in a quarter of the time.
    run(&mut cargo(&["install", "--locked", "--profile", "dev", package]))
}

pub(crate) fn machete() -> Result<()> {
    // By its own name: as `cargo machete` below `cargo run` it takes its first argument for a directory.
    run(Command::new("cargo-machete").current_dir(root()))
}

pub(crate) fn deny() -> Result<()> {
    run(&mut cargo(&["deny", "check", "bans", "licenses", "sources"]))
}

/// Debian packages of proxies, and where each has its program. They are unpacked, not installed: both would start a
/// server on port 80.
const PROXIES: [(&str, &str); 2] = [("nginx", "usr/sbin"), ("caddy", "usr/bin")];

/// Where to look for the proxies that are tested with, as a `PATH`: those unpacked here, made once, then the system's.
pub(crate) fn proxies() -> Result<String> {
    let unpacked = home().join("proxies");
    std::fs::create_dir_all(&unpacked)?;
    let one_at_a_time = std::fs::File::create(home().join("proxies.lock"))?;
    one_at_a_time.lock().context("cannot wait for the other run")?;
    let system = std::env::var("PATH").unwrap_or_default();
    let mut folders = Vec::new();
    for (package, folder) in PROXIES {
        let folder = unpacked.join(folder);
        let is_there =
            std::env::split_paths(&system).chain([folder.clone()]).any(|it| it.join(package).exists());
        if !is_there {
            unpack(package, &unpacked)?;
        }
        folders.push(folder.display().to_string());
    }
    folders.push(system);
    Ok(folders.join(":"))
}

/// Unpacks the Debian package into `to`.
fn unpack(package: &str, to: &Path) -> Result<()> {
    if !exists("apt-get", &["--version"]) {
        bail!("please install {package} (there is no apt-get here to fetch it)");
    }
    let fetched = home().join(format!("{package}.deb.d"));
    std::fs::create_dir_all(&fetched)?;
    let download =
        || run(Command::new("apt-get").args(["--quiet", "download", package]).current_dir(&fetched));
    if download().is_err() {
        run(Command::new("apt-get").args(["--quiet", "update"]))?;
        download()?;
    }
    for file in std::fs::read_dir(&fetched)? {
        run(Command::new("dpkg-deb").arg("--extract").arg(file?.path()).arg(to))?;
    }
    std::fs::remove_dir_all(&fetched)?;
    Ok(())
}

/// A virtual environment `name` with `requirements`, made once; they are `pip install` arguments.
pub(crate) fn python_environment(name: &str, requirements: &[&str]) -> Result<PathBuf> {
    let environment = home().join(format!("python-{name}"));
    let stamp = environment.join("requirements.stamp");
    let wanted = fingerprint(requirements)?;
    if std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(environment);
    }
    std::fs::create_dir_all(home())?;
    // Two runs beside each other would take it apart under each other's hands.
    let one_at_a_time = std::fs::File::create(home().join("python.lock"))?;
    one_at_a_time.lock().context("cannot wait for the other run")?;
    if std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(environment);
    }
    let make = || run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
    if make().is_err() {
        // Debian ships the module apart.
        debian(&["python3-venv"])?;
        make()?;
    }
    let pip = environment.join("bin/pip");
    run(Command::new(pip).args(["install", "--quiet", "--disable-pip-version-check"]).args(requirements))?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(environment)
}

/// Virtual environments with what each file names, made once and beside each other. They have no `pip`, which costs most
/// of the time: one that has installs into all.
pub(crate) fn python_environments(files: &[(String, PathBuf)]) -> Result<Vec<PathBuf>> {
    let installer = python_environment("installer", &["pip"])?.join("bin/pip");
    let one_at_a_time = std::fs::File::create(home().join("python.lock"))?;
    one_at_a_time.lock().context("cannot wait for the other run")?;
    let make = |(name, file): &(String, PathBuf)| -> Result<PathBuf> {
        let environment = home().join(format!("python-{name}"));
        let stamp = environment.join("requirements.stamp");
        let file = file.display().to_string();
        let wanted = fingerprint(&[&file])?;
        if std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
            return Ok(environment);
        }
        run(Command::new("python3").args(["-m", "venv", "--clear", "--without-pip"]).arg(&environment))?;
        let mut install = Command::new(&installer);
        install.arg("--python").arg(environment.join("bin/python"));
        run(install.args(["install", "--quiet", "--disable-pip-version-check", "--requirement", &file]))?;
        std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
        Ok(environment)
    };
    std::thread::scope(|scope| {
        let making: Vec<_> = files.iter().map(|file| scope.spawn(move || make(file))).collect();
        let made =
            making.into_iter().map(|made| made.join().unwrap_or_else(|_| bail!("installing panicked")));
        made.collect()
    })
}

/// Names and, for files, contents: what the environment was made from.
fn fingerprint(requirements: &[&str]) -> Result<String> {
    let mut text = String::new();
    for requirement in requirements {
        text.push_str(requirement);
        text.push('\n');
        if requirement.ends_with(".txt") {
            text.push_str(
                &std::fs::read_to_string(requirement)
                    .with_context(|| format!("cannot read {requirement}"))?,
            );
        }
    }
    Ok(text)
}
