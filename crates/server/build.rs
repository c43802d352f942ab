//! Finds the commit that the server is built from, where the sources are a git checkout of their own. Reads git's files
//! rather than ask git: the program may be missing, or refuse a checkout that belongs to another user.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Says it where there is no checkout, for packagers.
const GIVEN: &str = "SANDSCOPE_COMMIT";

fn main() {
    // Without any of these a change of any file would count.
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={GIVEN}");
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let (commit, version) = match given().or_else(checked_out) {
        Some(commit) => {
            let short: String = commit.chars().take(12).collect();
            let version = format!("{version} ({short})");
            (commit, version)
        }
        None => ("unknown".to_owned(), version),
    };
    println!("cargo::rustc-env={GIVEN}={commit}");
    println!("cargo::rustc-env=SANDSCOPE_VERSION={version}");
}

/// A variable that is set to nothing says nothing; anything else but a name for a commit would break the lines below.
fn given() -> Option<String> {
    let given = env::var(GIVEN).ok()?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (!given.is_empty() && given.bytes().all(is_name)).then_some(given)
}

/// The commit that is checked out in the workspace itself: a repository around it has nothing to do with it.
fn checked_out() -> Option<String> {
    let own_dir = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
    let git = own_dir.ancestors().nth(2)?.join(".git");
    // In a worktree `.git` is a file that names the directory, and what all worktrees share is elsewhere.
    let dir = match fs::read_to_string(&git) {
        Ok(link) => git.parent()?.join(link.trim().strip_prefix("gitdir: ")?),
        Err(_) => git,
    };
    let shared =
        fs::read_to_string(dir.join("commondir")).map_or_else(|_| dir.clone(), |path| dir.join(path.trim()));
    let head = watched(&dir.join("HEAD"))?;
    let Some(branch) = head.strip_prefix("ref: ") else { return commit(&head) };
    // Packed until the next commit makes a file of its own, in a directory that is there or comes then.
    let packed = watched(&shared.join("packed-refs")).unwrap_or_default();
    match watched(&shared.join(branch)) {
        Some(own) => commit(&own),
        None => {
            let place = shared.join(branch);
            if let Some(nearest) = place.ancestors().find(|dir| dir.is_dir()) {
                println!("cargo::rerun-if-changed={}", nearest.display());
            }
            let line =
                packed.lines().find(|line| line.split_once(' ').is_some_and(|(_, name)| name == branch))?;
            commit(line.split(' ').next()?)
        }
    }
}

/// The file's text, if it is there; a change of it counts.
fn watched(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    println!("cargo::rerun-if-changed={}", file.display());
    Some(text.trim().to_owned())
}

fn commit(text: &str) -> Option<String> {
    (text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.to_owned())
}
