//! What the host itself must offer.

use std::path::Path;

use rustix::process::{Resource, getrlimit};
use sandscope_cgroup::{CgroupOptions, Controller, Hierarchy, Version};
use sandscope_config::Config;
use sandscope_engine_namespaces::linux;

use super::check::Check;

/// The first kernel with everything that is used: overlay layers on idmapped mounts.
const OLDEST_KERNEL: (u32, u32) = (5, 19);
/// Fewer than these make a small host smaller.
const FEW_NAMESPACES: u64 = 1_000;
const FEW_PIDS: u64 = 32_768;
const FEW_FILES: u64 = 16_384;
const FEW_INSTANCES: u64 = 128;
const FEW_WATCHES: u64 = 8_192;
/// The start of 2026: a clock that is right shows a time after this program was written.
const EARLIEST_SECOND: i64 = 1_767_225_600;

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let options =
        CgroupOptions { limits_device_rates: config.sandbox.limits_disks(), ..CgroupOptions::default() };
    let mut checks: Vec<Check> = linux::host_checks(&options)
        .into_iter()
        .map(|check| {
            let fine = if check.name == "control groups" { layout() } else { "as needed".to_owned() };
            Check::of(check.name, check.problem, fine)
        })
        .collect();
    checks.push(kernel());
    checks.push(namespace_limits());
    checks.push(process_limits());
    checks.push(open_files());
    checks.push(inotify());
    checks.push(clock());
    checks.push(private_programs());
    checks
}

/// Which hierarchies are used for what, in words.
fn layout() -> String {
    let Ok(hierarchies) = Hierarchy::read_host() else { return "as needed".to_owned() };
    let describe = |hierarchy: &Hierarchy| {
        let names: Vec<&str> = hierarchy.controllers.iter().map(|c| Controller::name(*c)).collect();
        let version = if hierarchy.version == Version::V2 { "v2" } else { "v1" };
        let controllers = if names.is_empty() { "no controllers".to_owned() } else { names.join(" ") };
        format!("{version} at {} ({controllers})", hierarchy.mount_point.display())
    };
    hierarchies.iter().map(describe).collect::<Vec<_>>().join(", ")
}

fn kernel() -> Check {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    match version_of(&release) {
        Some(version) if version < OLDEST_KERNEL => Check::problem(
            "kernel",
            format!("Linux {release} is too old"),
            "use Linux 5.19 or newer: overlay layers on idmapped mounts are needed",
        ),
        Some(_) => Check::fine("kernel", format!("Linux {release}")),
        None => {
            Check::warning("kernel", format!("unknown version {release}"), "make sure it is 5.19 or newer")
        }
    }
}

/// Major and minor number of a release such as `6.1.0-13-amd64`.
fn version_of(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn namespace_limits() -> Check {
    let limit = |kind: &str| sysctl(&format!("user/max_{kind}_namespaces"));
    let kinds = ["user", "net", "pid", "mnt", "ipc", "uts", "cgroup"];
    let few: Vec<String> = kinds
        .into_iter()
        .filter_map(|kind| limit(kind).filter(|n| *n < FEW_NAMESPACES).map(|n| format!("{n} {kind}")))
        .collect();
    if few.is_empty() {
        return Check::fine("namespace limits", "enough for a thousand sandboxes");
    }
    Check::warning(
        "namespace limits",
        format!("the host allows only {} namespaces; each sandbox takes one of each", few.join(", ")),
        "raise user.max_*_namespaces with sysctl",
    )
}

fn process_limits() -> Check {
    let (pid_max, threads_max) = (sysctl("kernel/pid_max"), sysctl("kernel/threads-max"));
    let least = pid_max.into_iter().chain(threads_max).min().unwrap_or(u64::MAX);
    if least < FEW_PIDS {
        let says = format!("the host allows only {least} processes and threads together");
        return Check::warning(
            "process limits",
            says,
            "raise kernel.pid_max and kernel.threads-max with sysctl",
        );
    }
    Check::fine("process limits", format!("{least} processes and threads"))
}

fn open_files() -> Check {
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    if hard < FEW_FILES {
        let says = format!("{hard} open files allowed; each sandbox takes about twenty of the server's");
        return Check::warning(
            "open files",
            says,
            "raise the hard limit: LimitNOFILE= of the unit, or ulimit -Hn",
        );
    }
    Check::fine("open files", format!("{hard} allowed"))
}

/// Each sandbox is counted as a user of its own: the limits bound one sandbox, not all together, and the kernel's default
/// is enough for one. Only a value that somebody lowered is worth a warning.
fn inotify() -> Check {
    let instances = sysctl("fs/inotify/max_user_instances").unwrap_or(u64::MAX);
    let watches = sysctl("fs/inotify/max_user_watches").unwrap_or(u64::MAX);
    let mut raised = String::new();
    for (is_few, setting) in [
        (instances < FEW_INSTANCES, "fs.inotify.max_user_instances=128"),
        (watches < FEW_WATCHES, "fs.inotify.max_user_watches=8192"),
    ] {
        if is_few {
            raised = format!("{raised} {setting}");
        }
    }
    if !raised.is_empty() {
        return Check::warning(
            "inotify",
            format!(
                "{instances} instances and {watches} watches per sandbox: programs may be refused directory watches"
            ),
            &format!("sysctl -w{raised}"),
        );
    }
    Check::fine("inotify", format!("{instances} instances and {watches} watches per sandbox"))
}

/// Sandboxes see the host's programs; what of them is private is kept from them, and its owner may want to know.
fn private_programs() -> Check {
    const NAMED: usize = 5;
    match linux::private_programs() {
        Ok(private) if private.is_empty() => {
            Check::fine("private programs", "everybody may read all of /usr")
        }
        Ok(private) => {
            let named: Vec<String> =
                private.iter().take(NAMED).map(|path| path.display().to_string()).collect();
            let more = if private.len() > NAMED { ", …" } else { "" };
            let says = format!("sandboxes do not see {} of /usr: {}{more}", private.len(), named.join(", "));
            Check::fine("private programs", says)
        }
        Err(error) => Check::problem(
            "private programs",
            format!("/usr cannot be looked at: {error}"),
            "without that no sandbox is made: mend its file system",
        ),
    }
}

fn clock() -> Check {
    let now = jiff::Timestamp::now();
    if now.as_second() < EARLIEST_SECOND {
        let says = format!("it shows {now:.0}");
        return Check::problem(
            "clock",
            says,
            "set the time and keep it: events, timeouts and signatures depend on it",
        );
    }
    Check::fine("clock", format!("{now:.0}"))
}

/// The number a file below `/proc/sys` holds.
fn sysctl(name: &str) -> Option<u64> {
    std::fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_understood() {
        assert_eq!(version_of("6.1.0-13-amd64"), Some((6, 1)));
        assert_eq!(version_of("5.19"), Some((5, 19)));
        assert_eq!(version_of("strange"), None);
        assert!((5, 4) < OLDEST_KERNEL && (6, 1) > OLDEST_KERNEL);
    }
}
