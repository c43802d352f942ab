//! Builds the agent, static and small, and hands its path to the launcher, which carries it inside.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names a ready-made agent, for packagers who build it apart.
const READY_MADE: &str = "SANDSCOPE_AGENT_BIN";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed={READY_MADE}");
    if let Some(agent) = env::var_os(READY_MADE) {
        let agent = std::path::absolute(PathBuf::from(agent))?;
        println!("cargo::rerun-if-changed={}", agent.display());
        println!("cargo::rustc-env=SANDSCOPE_AGENT={}", agent.display());
        return Ok(());
    }
    let own_dir = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let workspace = own_dir.ancestors().nth(2).ok_or("no workspace above this crate")?;
    for input in ["crates/agent", "crates/agent-protocol", "Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    let triple = env::var("TARGET")?;
    let target_dir = target_dir(&PathBuf::from(env::var("OUT_DIR")?))?.join("agent-build");
    let mut build = Command::new(env::var("CARGO")?);
    build
        // Locked: the agent is made of what was tested and of nothing newer.
        .args([
            "build",
            "--locked",
            "--package",
            "sandscope-agent",
            "--profile",
            "agent",
            "--target",
            &triple,
        ])
        .arg("--target-dir")
        .arg(&target_dir)
        .current_dir(workspace)
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    // What Cargo sets for this build must not leak into that one, nor a checker stand in for its compiler.
    for (name, _) in env::vars() {
        let of_this_build = name.starts_with("CARGO_")
            && !matches!(name.as_str(), "CARGO_HOME" | "CARGO_NET_OFFLINE" | "CARGO_HTTP_CAINFO")
            && !name.starts_with("CARGO_REGISTRIES_")
            && !name.starts_with("CARGO_REGISTRY_")
            && !name.starts_with("CARGO_SOURCE_");
        if of_this_build || matches!(name.as_str(), "RUSTC" | "RUSTC_WRAPPER" | "RUSTC_WORKSPACE_WRAPPER") {
            build.env_remove(name);
        }
    }
    if !build.status()?.success() {
        return Err(
            "the agent does not build; it is linked statically: if the linker finds no libc.a, install \
                    glibc-static (Fedora, RHEL) or libc6-dev (Debian, Ubuntu)"
                .into(),
        );
    }
    let agent = target_dir.join(&triple).join("agent").join("sandscope-agent");
    println!("cargo::rustc-env=SANDSCOPE_AGENT={}", agent.display());
    Ok(())
}

/// The directory all profiles share: the nearest one that Cargo has tagged as its own.
fn target_dir(out_dir: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let tagged = out_dir.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists());
    Ok(tagged.ok_or("no target directory above this build's output")?.to_owned())
}
