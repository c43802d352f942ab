//! Freezing, thawing and killing.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::controller::Controller;
use crate::error::CgroupError;
use crate::group::Group;
use crate::hierarchy::Version;

/// How often the kernel's freezer of version 1 is asked again, and the longest a wait pauses between looks.
const LONGEST_PAUSE: Duration = Duration::from_millis(5);
const FIRST_PAUSE: Duration = Duration::from_micros(50);
/// How often processes that could not be frozen are signalled, in case they had children meanwhile.
const KILL_PASSES: u32 = 8;

/// Looks until `done`, pausing a little longer each time, at most `limit`.
pub(crate) fn wait_until(
    path: &Path,
    state: &'static str,
    limit: Duration,
    mut done: impl FnMut() -> Result<bool, CgroupError>,
) -> Result<(), CgroupError> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    while !done()? {
        if start.elapsed() >= limit {
            return Err(CgroupError::Timeout { path: path.to_owned(), state, limit });
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(())
}

/// The group that freezes: version 2 if there is one.
fn freezer(groups: &[Group]) -> Result<&Group, CgroupError> {
    groups
        .iter()
        .find(|group| group.version == Version::V2)
        .or_else(|| groups.iter().find(|group| group.has(Controller::Freezer)))
        .ok_or(CgroupError::FreezerMissing)
}

/// Stops every process. If they are not all frozen within `limit`, all run on.
pub(crate) fn freeze(groups: &[Group], limit: Duration) -> Result<(), CgroupError> {
    let group = freezer(groups)?;
    let frozen = match group.version {
        Version::V2 => {
            let events = group.keep("cgroup.events")?;
            group
                .write("cgroup.freeze", "1")
                .and_then(|()| wait_until(&group.path, "frozen", limit, || Ok(events.keyed("frozen")? == 1)))
        }
        Version::V1 => {
            let state = group.keep("freezer.state")?;
            wait_until(&group.path, "frozen", limit, || {
                // A process that was being started can hold FREEZING up until the state is written again.
                group.write("freezer.state", "FROZEN")?;
                state.text_is("FROZEN")
            })
        }
    };
    if frozen.is_err() {
        thaw(groups)?;
    }
    frozen
}

/// Lets every process continue.
pub(crate) fn thaw(groups: &[Group]) -> Result<(), CgroupError> {
    let group = freezer(groups)?;
    match group.version {
        Version::V2 => group.write("cgroup.freeze", "0"),
        Version::V1 => group.write("freezer.state", "THAWED"),
    }
}

pub(crate) fn is_frozen(groups: &[Group]) -> Result<bool, CgroupError> {
    let group = freezer(groups)?;
    match group.version {
        Version::V2 => {
            // The event lags behind a thaw, the order does not.
            Ok(group.number("cgroup.freeze")? == 1 && group.keyed("cgroup.events", "frozen")? == 1)
        }
        Version::V1 => group.keep("freezer.state")?.text_is("FROZEN"),
    }
}

/// Sends SIGKILL to every process of every group and lets it take effect.
pub(crate) fn kill_all(groups: &[Group], freeze_limit: Duration) -> Result<(), CgroupError> {
    let unified = groups.iter().find(|group| group.version == Version::V2);
    let killed_at_once = match unified {
        // Linux 5.14 and later: nothing escapes, whatever it forks.
        Some(group) => group.write_if_there("cgroup.kill", "1")?,
        None => false,
    };
    if killed_at_once {
        // Only a process that had not joined every hierarchy yet can be left.
        return kill_listed(groups);
    }
    // Nothing forks while it is frozen, so one pass is complete.
    let passes = if freeze(groups, freeze_limit).is_ok() { 1 } else { KILL_PASSES };
    for _ in 0..passes {
        kill_listed(groups)?;
    }
    thaw(groups)
}

fn kill_listed(groups: &[Group]) -> Result<(), CgroupError> {
    for group in groups {
        let handles: Vec<(i32, _)> = group
            .processes()?
            .into_iter()
            .filter_map(|pid| Some((pid, pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?)))
            .collect();
        if handles.is_empty() {
            continue;
        }
        // A number may have passed to another process between the list and the handle; one that is still listed
        // now, with the handle held, is the group's.
        let still_listed = group.processes()?;
        for (pid, handle) in handles.iter().filter(|(pid, _)| still_listed.contains(pid)) {
            match pidfd_send_signal(handle, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(source) => {
                    return Err(CgroupError::file(
                        "kill a process of",
                        &group.path.join(pid.to_string()),
                        source,
                    ));
                }
            }
        }
    }
    Ok(())
}
