//! What is too old is said first, in a sentence: found out by a test, it costs an hour and reads like a fault of ours.

use std::fmt;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::shell::root;

/// The numbers of a version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Version(Vec<u32>);

impl Version {
    /// The first number with a point in `text`: `v20.18.1`, `rustc 1.95.0 (…)`, `Python 3.11.7`.
    fn find(text: &str) -> Option<Self> {
        let words = text.split(|char: char| !char.is_ascii_digit() && char != '.');
        let numbers = words.filter(|word| word.contains('.')).map(|word| {
            word.trim_matches('.').split('.').map(|number| number.parse().ok()).collect::<Option<Vec<u32>>>()
        });
        numbers.flatten().find(|numbers| numbers.len() > 1).map(Self)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

/// A program of the tests, and the oldest version that does.
struct Needed {
    name: &'static str,
    command: &'static [&'static str],
    oldest: Version,
    get: &'static str,
}

/// Checks what is installed; a program that is missing is no matter of versions.
///
/// # Errors
/// Everything that is too old, at once.
pub(crate) fn check() -> Result<()> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).context("cannot read Cargo.toml")?;
    let rust = manifest.lines().find_map(|line| line.strip_prefix("rust-version")).and_then(Version::find);
    let needed = [
        Needed {
            name: "Rust",
            command: &["rustc", "--version"],
            oldest: rust.context("Cargo.toml says no rust-version")?,
            get: "rustup update stable",
        },
        Needed {
            name: "Node",
            command: &["node", "--version"],
            oldest: Version(vec![20, 18, 1]),
            get: "see https://nodejs.org/en/download; Debian 12 and Ubuntu 22.04 ship an older one",
        },
        Needed {
            name: "Python",
            command: &["python3", "--version"],
            oldest: Version(vec![3, 10]),
            get: "install a newer python3 and put it first on PATH",
        },
    ];
    let old: Vec<String> = needed.iter().filter_map(|one| too_old(one, &said(one.command)?)).collect();
    if old.is_empty() {
        return Ok(());
    }
    bail!("too old for the tests:\n  - {}", old.join("\n  - "))
}

fn too_old(needed: &Needed, said: &str) -> Option<String> {
    let Needed { name, oldest, get, .. } = needed;
    let found = Version::find(said)?;
    (found < *oldest).then(|| format!("{name} {found} is here, {oldest} or newer is needed: {get}"))
}

/// What the program says of itself; `None` where there is none.
fn said(command: &[&str]) -> Option<String> {
    let (program, arguments) = command.split_first()?;
    let done =
        Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
}

/// The agent is linked statically, for which distributions ship the C library apart.
///
/// # Errors
/// It is not there.
pub(crate) fn check_static_c_library() -> Result<()> {
    let compile = || -> Result<bool> {
        let mut command = Command::new("cc");
        command.args(["-static", "-x", "c", "-", "-o", "/dev/null"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start cc")?;
        let mut input = child.stdin.take().context("piped")?;
        input.write_all(b"int main(void) { return 0; }\n")?;
        drop(input);
        Ok(child.wait()?.success())
    };
    if compile()? {
        return Ok(());
    }
    bail!(
        "the C library is not here as an archive, which the agent is linked with: install glibc-static (Fedora, RHEL) \
         or libc6-dev (Debian, Ubuntu)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_old_is_said_in_a_sentence() {
        let node = Needed { name: "Node", command: &[], oldest: Version(vec![20, 18, 1]), get: "get it" };
        assert_eq!(
            too_old(&node, "v18.19.0\n").as_deref(),
            Some("Node 18.19.0 is here, 20.18.1 or newer is needed: get it")
        );
        for fine in ["v20.18.1", "v20.20.2", "v22.0.0", "nonsense"] {
            assert_eq!(too_old(&node, fine), None, "{fine}");
        }
        assert_eq!(Version::find("rustc 1.95.0 (59807616e 2026-04-14)"), Some(Version(vec![1, 95, 0])));
        assert_eq!(Version::find(" = \"1.95\""), Some(Version(vec![1, 95])));
        assert!(
            Version(vec![1, 95, 0]) >= Version(vec![1, 95]) && Version(vec![3, 9, 18]) < Version(vec![3, 10])
        );
    }

    #[test]
    fn this_machine_runs_the_tests_and_so_is_new_enough() {
        check().unwrap();
    }
}
