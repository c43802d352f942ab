//! What has to be known of the host's programs before sandboxes see them.

use std::collections::BTreeSet;
use std::fs::{DirEntry, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// What was found below one directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// What not everybody on the host may read. A directory stands for all that is in it.
    pub(crate) private: BTreeSet<PathBuf>,
    /// Where links into `/etc` lead.
    pub(crate) into_etc: BTreeSet<PathBuf>,
}

/// Looks at everything below `top` on its file system. What goes away meanwhile is left out.
///
/// # Errors
/// If something cannot be looked at: it might be private.
pub(crate) fn scan(top: &Path) -> io::Result<Scan> {
    let mut found = Scan::default();
    let device = std::fs::metadata(top)?.dev();
    let mut dirs = vec![top.to_owned()];
    while let Some(dir) = dirs.pop() {
        let Some(entries) = if_there(std::fs::read_dir(&dir))? else { continue };
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_symlink() {
                found.into_etc.extend(target_in_etc(&entry, &dir)?);
                continue;
            }
            let Some(metadata) = if_there(entry.metadata())? else { continue };
            if !is_public(&metadata) {
                found.private.insert(entry.path());
            } else if kind.is_dir() && metadata.dev() == device {
                dirs.push(entry.path());
            }
        }
    }
    Ok(found)
}

/// Whether anybody on the host may read it, or list it if it is a directory.
pub(crate) fn is_public(found: &Metadata) -> bool {
    let wanted = if found.is_dir() { 0o005 } else { 0o004 };
    found.permissions().mode() & wanted == wanted
}

fn if_there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

fn target_in_etc(link: &DirEntry, dir: &Path) -> io::Result<Option<PathBuf>> {
    let Some(target) = if_there(std::fs::read_link(link.path()))? else { return Ok(None) };
    let target = without_dots(&dir.join(target));
    Ok((target.starts_with("/etc") && target != Path::new("/etc")).then_some(target))
}

/// Takes `.` and `..` away by their words: links on the way are not followed.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_private_and_what_leads_into_etc_is_found() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path();
        let make = |path: &str, mode: u32| {
            std::fs::write(top.join(path), "x").unwrap();
            std::fs::set_permissions(top.join(path), PermissionsExt::from_mode(mode)).unwrap();
        };
        for dir in ["open/deep", "closed", "passable"] {
            std::fs::create_dir_all(top.join(dir)).unwrap();
        }
        make("open/deep/secret", 0o640);
        make("open/program", 0o4711);
        make("open/plain", 0o644);
        make("closed/inside", 0o600);
        make("passable/inside", 0o600);
        for (dir, mode) in [("closed", 0o700), ("passable", 0o711)] {
            std::fs::set_permissions(top.join(dir), PermissionsExt::from_mode(mode)).unwrap();
        }
        for (link, to) in
            [("a", "/etc/java/conf"), ("open/b", "/etc/../etc/./R"), ("c", "/etc"), ("d", "plain")]
        {
            std::os::unix::fs::symlink(to, top.join(link)).unwrap();
        }
        let found = scan(top).unwrap();
        let private = ["closed", "open/deep/secret", "open/program", "passable"].map(|path| top.join(path));
        assert_eq!(found.private, BTreeSet::from(private));
        assert_eq!(found.into_etc, BTreeSet::from(["/etc/R", "/etc/java/conf"].map(PathBuf::from)));
    }

    #[test]
    fn relative_links_lead_where_they_say() {
        assert_eq!(without_dots(Path::new("/usr/lib/jvm/../../../etc/java")), Path::new("/etc/java"));
        assert_eq!(without_dots(Path::new("/usr/../../etc")), Path::new("/etc"));
    }
}
