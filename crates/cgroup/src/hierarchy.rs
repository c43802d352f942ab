//! Which hierarchy has which controller, from `/proc/self/cgroup` and `/proc/self/mountinfo`. Pure but for
//! [`Hierarchy::read_host`].

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use crate::controller::Controller;
use crate::error::CgroupError;

/// Which of the kernel's two interfaces a hierarchy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy per controller (or few).
    V1,
    /// The unified hierarchy; in hybrid set-ups it is mounted without controllers.
    V2,
}

/// A mounted hierarchy and where in it this process lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its interface.
    pub version: Version,
    /// The controllers it has, of those sandboxes use.
    pub controllers: Vec<Controller>,
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// This process's own group, as a directory under the mount point.
    pub own_dir: PathBuf,
}

impl Hierarchy {
    /// Every hierarchy mounted on this host that sandboxes have a use for.
    ///
    /// # Errors
    ///
    /// The kernel's lists cannot be read.
    pub fn read_host() -> Result<Vec<Self>, CgroupError> {
        let read = |path: &str| {
            std::fs::read(path).map_err(|source| CgroupError::file("read", Path::new(path), source))
        };
        let membership = read("/proc/self/cgroup")?;
        let mounts = read("/proc/self/mountinfo")?;
        let mut found = Self::parse(&membership, &mounts);
        for hierarchy in found.iter_mut().filter(|hierarchy| hierarchy.version == Version::V2) {
            let path = hierarchy.mount_point.join("cgroup.controllers");
            let text =
                std::fs::read_to_string(&path).map_err(|source| CgroupError::file("read", &path, source))?;
            hierarchy.controllers = text.split_whitespace().filter_map(Controller::of_name).collect();
        }
        Ok(found)
    }

    /// The same from the files' contents. Controllers of a version 2 hierarchy are not in them and stay empty.
    pub fn parse(membership: &[u8], mountinfo: &[u8]) -> Vec<Self> {
        let memberships: Vec<Membership> =
            membership.split(|byte| *byte == b'\n').filter_map(Membership::parse).collect();
        let mut found: Vec<Self> = Vec::new();
        let mounts = mountinfo.split(|byte| *byte == b'\n').filter_map(Mount::parse);
        for mount in mounts {
            let known = found.iter().any(|hierarchy| match hierarchy.version {
                Version::V2 => mount.version == Version::V2,
                Version::V1 => hierarchy.controllers.iter().any(|c| mount.controllers.contains(c)),
            });
            let useless = mount.version == Version::V1 && mount.controllers.is_empty();
            if known || useless {
                continue;
            }
            let Some(own) = memberships.iter().find(|membership| membership.is_of(&mount)) else { continue };
            found.push(Self {
                version: mount.version,
                own_dir: own_dir(&mount, &own.path),
                controllers: mount.controllers,
                mount_point: mount.mount_point,
            });
        }
        found
    }
}

/// Where the own group is under the mount point. A bind mount, as in a container without a cgroup namespace, shows
/// only what is below its root; a group that cannot be seen through the mount leaves the mount point itself.
fn own_dir(mount: &Mount, own: &Path) -> PathBuf {
    let below = own.strip_prefix(&mount.root).unwrap_or(Path::new(""));
    if below.components().all(|part| matches!(part, Component::Normal(_))) {
        // `join("")` would leave a trailing slash.
        if below.as_os_str().is_empty() { mount.mount_point.clone() } else { mount.mount_point.join(below) }
    } else {
        mount.mount_point.clone()
    }
}

/// A line of `/proc/self/cgroup`: `<id>:<controllers>:<path>`.
struct Membership {
    version: Version,
    controllers: Vec<Controller>,
    path: PathBuf,
}

impl Membership {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.splitn(3, |byte| *byte == b':');
        let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let controllers = std::str::from_utf8(controllers).ok()?;
        let version = if id == b"0" && controllers.is_empty() { Version::V2 } else { Version::V1 };
        let controllers = controllers.split(',').filter_map(Controller::of_name).collect();
        Some(Self { version, controllers, path: PathBuf::from(OsString::from_vec(path.to_vec())) })
    }

    fn is_of(&self, mount: &Mount) -> bool {
        self.version == mount.version
            && (self.version == Version::V2 || self.controllers.iter().any(|c| mount.controllers.contains(c)))
    }
}

/// A line of `/proc/self/mountinfo`, of a control group filesystem.
struct Mount {
    version: Version,
    controllers: Vec<Controller>,
    root: PathBuf,
    mount_point: PathBuf,
}

impl Mount {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let root = fields.nth(3)?;
        let mount_point = fields.next()?;
        // Any number of optional fields ends with a single dash.
        let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
        let version = match fields.next()? {
            b"cgroup" => Version::V1,
            b"cgroup2" => Version::V2,
            _ => return None,
        };
        let options = std::str::from_utf8(fields.nth(1)?).ok()?;
        let controllers = match version {
            Version::V1 => options.split(',').filter_map(Controller::of_name).collect(),
            Version::V2 => Vec::new(),
        };
        Some(Self { version, controllers, root: unescape(root), mount_point: unescape(mount_point) })
    }
}

/// The kernel writes blanks in paths as three octal digits after a backslash.
fn unescape(field: &[u8]) -> PathBuf {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal =
            tail.get(..3).filter(|digits| first == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        let value = octal.and_then(|digits| {
            let value = digits.iter().fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0'));
            u8::try_from(value).ok()
        });
        match value {
            Some(byte) => {
                plain.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(plain))
}

#[cfg(test)]
#[path = "hierarchy_tests.rs"]
mod tests;
