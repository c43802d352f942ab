//! What this engine can do on this host.

use sandscope_cgroup::Cgroups;
use sandscope_engine::{Capabilities, EngineProfile, Isolation, Lack};

/// The engine's name.
pub(super) const NAME: &str = "namespaces";

pub(super) fn of_this_host(cgroups: &Cgroups) -> EngineProfile {
    let no_pressures = no_pressures(cgroups);
    let can = Capabilities {
        oom_of_one_process: true,
        pressures: no_pressures.is_none(),
        ..Capabilities::default()
    };
    EngineProfile {
        engine: NAME,
        version: rustix::system::uname().release().to_string_lossy().into_owned(),
        isolation: Isolation::SharedKernel,
        can,
        lacking: no_pressures.into_iter().collect(),
        envd_version: sandscope_agent_protocol::ENVD_VERSION,
    }
}

fn no_pressures(cgroups: &Cgroups) -> Option<Lack> {
    let lack = |why: &str, remedy: &str| Lack {
        capability: "pressures",
        why: why.to_owned(),
        remedy: remedy.to_owned(),
    };
    if !cgroups.has_unified() {
        return Some(lack(
            "no control groups of version 2 are mounted",
            "boot with systemd.unified_cgroup_hierarchy=1",
        ));
    }
    // There is a file but no reading where the kernel was built to measure them only on demand.
    std::fs::read("/proc/pressure/cpu")
        .is_err()
        .then(|| lack("the kernel does not measure stalls", "boot with psi=1"))
}
