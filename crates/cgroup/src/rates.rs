//! How fast a block device may be used, where that device is one sandbox's alone.
//!
//! Version 2 limits what a group's processes ask of a device, what the kernel writes back for them later included. Version
//! 1 counts what is written back for nobody's group, so the limit stands in the hierarchy's root, and in the group this
//! process is in, whose children ask for the rest: `Documentation/admin-guide/cgroup-{v1/blkio-controller,v2}.rst`.

use std::path::{Path, PathBuf};

use crate::controller::Controller;
use crate::error::CgroupError;
use crate::group::Group;
use crate::hierarchy::{Hierarchy, Version};
use crate::layout::Parent;

/// Only the root of a hierarchy has this file. What is mounted in a container may begin further down.
const OF_ROOTS: &str = "release_agent";
const READ: &str = "blkio.throttle.read_bps_device";
const WRITTEN: &str = "blkio.throttle.write_bps_device";

/// Bytes per second; `None` is as many as the device can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceRates {
    /// Read from it.
    pub read: Option<u64>,
    /// Written to it.
    pub written: Option<u64>,
}

impl DeviceRates {
    /// Whether nothing is limited.
    pub const fn is_none(&self) -> bool {
        self.read.is_none() && self.written.is_none()
    }
}

/// The groups of version 1 that rates are written in; empty where sandboxes' own groups take them, or none can.
pub(crate) fn places(hierarchies: &[Hierarchy], parents: &[Parent]) -> Vec<PathBuf> {
    if parents.iter().any(|parent| parent.controllers.contains(&Controller::Io)) {
        return Vec::new();
    }
    let is_blkio = |hierarchy: &&Hierarchy| {
        hierarchy.version == Version::V1
            && hierarchy.controllers.contains(&Controller::Io)
            && hierarchy.mount_point.join(OF_ROOTS).exists()
            && hierarchy.mount_point.join(WRITTEN).exists()
    };
    let Some(found) = hierarchies.iter().find(is_blkio) else { return Vec::new() };
    let mut places = vec![found.mount_point.clone()];
    if found.own_dir != found.mount_point {
        places.push(found.own_dir.clone());
    }
    places
}

/// `device`: `major:minor`.
pub(crate) fn set(
    groups: &[Group],
    places: &[PathBuf],
    device: &str,
    rates: DeviceRates,
) -> Result<(), CgroupError> {
    for group in groups.iter().filter(|group| group.version == Version::V2) {
        let line = line_of_v2(device, rates);
        if group.has(Controller::Io) {
            group.write("io.max", &line)?;
        } else if rates.is_none() {
            // An earlier server may have set some.
            group.write_if_there("io.max", &line)?;
        }
    }
    for place in places {
        set_v1(place, READ, device, rates.read)?;
        set_v1(place, WRITTEN, device, rates.written)?;
    }
    Ok(())
}

fn line_of_v2(device: &str, rates: DeviceRates) -> String {
    let word = |rate: Option<u64>| rate.map_or_else(|| "max".to_owned(), |rate| rate.max(1).to_string());
    format!("{device} rbps={} wbps={}", word(rates.read), word(rates.written))
}

/// Zero takes a limit away, and is refused for a device that is not there.
fn set_v1(place: &Path, name: &str, device: &str, rate: Option<u64>) -> Result<(), CgroupError> {
    let path = place.join(name);
    if rate.is_none() && !limited(&path)?.iter().any(|limited| limited == device) {
        return Ok(());
    }
    let line = format!("{device} {}", rate.map_or(0, |rate| rate.max(1)));
    std::fs::write(&path, line).map_err(|source| CgroupError::file("write", &path, source))
}

/// The devices that rates are set for in these places, each once.
pub(crate) fn limited_in(places: &[PathBuf]) -> Result<Vec<String>, CgroupError> {
    let mut devices = Vec::new();
    for place in places {
        devices.extend(limited(&place.join(READ))?);
        devices.extend(limited(&place.join(WRITTEN))?);
    }
    devices.sort_unstable();
    devices.dedup();
    Ok(devices)
}

fn limited(path: &Path) -> Result<Vec<String>, CgroupError> {
    let text = std::fs::read_to_string(path).map_err(|source| CgroupError::file("read", path, source))?;
    Ok(text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

#[cfg(test)]
#[path = "rates_tests.rs"]
mod tests;
