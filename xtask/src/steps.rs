//! `cargo xtask test`: every check there is, in the order of what fails fastest.

use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::shell::{cargo, root, run};
use crate::skipped::Skipped;
use crate::{e2e, install, leftovers, soak, tidy, versions};

/// What property tests draw their cases from.
const PROPERTY_SEED: &str = "PROPTEST_RNG_SEED";

pub(crate) fn test() -> Result<()> {
    let started = Instant::now();
    let mut skipped = Skipped::default();
    let lint = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    if !is_root() {
        skipped.add("everything on real sandboxes", "it needs root");
    }
    step("versions", versions::check)?;
    step("format", || run(&mut cargo(&["fmt", "--all", "--check"])))?;
    step("tidy", tidy::run)?;
    step("install", install::tools)?;
    // What was installed just now may be too old as well.
    step("versions of what was installed", || {
        versions::check()?;
        versions::check_static_c_library()
    })?;
    step("dependencies: licences, bans, sources", install::deny)?;
    step("dependencies: unused", install::machete)?;
    step("lints", || run(&mut cargo(&lint)))?;
    let before = leftovers::Inventory::take();
    step("unit, property, fault and crash tests", || {
        let mut nextest = cargo(&["nextest", "run", "--workspace", "--locked"]);
        // The same cases every time, so that a failure here is this change's; set the variable for other ones.
        if std::env::var_os(PROPERTY_SEED).is_none() {
            nextest.env(PROPERTY_SEED, "20260724");
        }
        // Written anew by every run; an old one would speak for this.
        let report = install::target().join("nextest/default/junit.xml");
        let _ = std::fs::remove_file(&report);
        run(&mut nextest)?;
        skipped.read(&report)
    })?;
    step("doc tests", || run(&mut cargo(&["test", "--workspace", "--locked", "--doc", "--quiet"])))?;
    step("end to end with the official clients", || e2e::run(&[], &mut skipped))?;
    step("a short soak", || soak::run(&soak::SHORT, &mut skipped))?;
    step("nothing is left on the host", || before.compare())?;
    println!("\n{}", skipped.verdict(started.elapsed()));
    Ok(())
}

/// Whether this process is root: the user that `id -u` calls 0.
fn is_root() -> bool {
    crate::shell::output(std::process::Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// Writes the OpenAPI document of the binary to `docs/openapi.json`.
pub(crate) fn openapi() -> Result<()> {
    let document =
        crate::shell::output(&mut cargo(&["run", "--quiet", "--package", "sandscope", "--", "openapi"]))?;
    let file = root().join("docs/openapi.json");
    std::fs::write(&file, document).with_context(|| format!("cannot write {}", file.display()))
}

fn step(name: &str, body: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("\n==> {name}");
    let started = Instant::now();
    body().with_context(|| name.to_owned())?;
    println!("    {name}: done in {} s", started.elapsed().as_secs());
    Ok(())
}
