//! Looks at a sandbox from outside, through the kernel's own words, before it is called made.

use std::path::Path;

use super::identity::RANGE_LEN;
use super::init::{AGENTS_OWN, CAPABILITIES};
use crate::linux::protocol::Failure;

/// Refuses a sandbox whose protection is not exactly as meant. `n_filters`: how many system call filters it
/// has beside those that it inherits from this process.
pub(super) fn verify(
    proc_dir: &Path,
    uid_base: u32,
    cgroup_name: &str,
    n_filters: usize,
) -> Result<(), Failure> {
    let read = |name: &str| {
        std::fs::read_to_string(proc_dir.join(name))
            .map_err(|error| Failure::new("verify the sandbox", error))
    };
    let inherited = std::fs::read_to_string("/proc/self/status")
        .map_err(|error| Failure::new("verify the sandbox", error))?;
    let n_inherited = field(&inherited, "Seccomp_filters").parse::<usize>().unwrap_or_default();
    let mapped = [0, uid_base, RANGE_LEN].map(|number| number.to_string());
    for map in ["uid_map", "gid_map"] {
        if !read(map)?.split_whitespace().eq(mapped.iter()) {
            return Err(mismatch(map));
        }
    }
    let status = read("status")?;
    let is = |field: &str, wanted: &str| {
        let found = self::field(&status, field);
        if found == wanted { Ok(()) } else { Err(mismatch(&format!("{field} ({found}, not {wanted})"))) }
    };
    is("CapBnd", &format!("{:016x}", CAPABILITIES.bits()))?;
    is("CapPrm", &format!("{:016x}", CAPABILITIES.union(AGENTS_OWN).bits()))?;
    // Until the agent has let go of it, which it does before it can be asked for anything.
    let own = format!("{:016x}", AGENTS_OWN.bits());
    is("CapInh", "0000000000000000").or_else(|failure| is("CapInh", &own).map_err(|_| failure))?;
    is("CapAmb", "0000000000000000")?;
    is("NoNewPrivs", "1")?;
    is("Seccomp", "2")?;
    is("Seccomp_filters", &(n_inherited + n_filters).to_string())?;
    verify_membership(&read("cgroup")?, cgroup_name)
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.map_or("missing", str::trim)
}

/// The groups it must be in: CPU, memory and process limits, wherever this host has them.
fn verify_membership(cgroup: &str, name: &str) -> Result<(), Failure> {
    for controller in ["cpu", "memory", "pids"] {
        let of_controller = cgroup.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let controllers = fields.next()?;
            controllers.split(',').any(|one| one == controller).then(|| fields.next()).flatten()
        });
        let unified = cgroup.lines().find_map(|line| line.strip_prefix("0::"));
        let path = of_controller.or(unified).unwrap_or_default();
        if !path.ends_with(&format!("/{name}")) {
            return Err(mismatch("control groups"));
        }
    }
    Ok(())
}

fn mismatch(what: &str) -> Failure {
    Failure::new("verify the sandbox", format_args!("{what} is not as it should be"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership_is_checked_per_controller() {
        let both = "9:name=systemd:/\n8:pids:/s/i1\n4:memory:/x/s/i1\n2:cpu,cpuacct:/s/i1\n0::/s/i1\n";
        assert!(verify_membership(both, "i1").is_ok());
        assert!(verify_membership(both, "i2").is_err());
        let escaped = "8:pids:/s/i1\n4:memory:/\n2:cpu,cpuacct:/s/i1\n0::/s/i1\n";
        assert!(verify_membership(escaped, "i1").is_err());
        assert!(verify_membership("0::/sandscope/i1\n", "i1").is_ok());
        assert!(verify_membership("", "i1").is_err());
    }
}
