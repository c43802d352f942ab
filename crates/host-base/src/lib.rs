//! The generated part of sandboxes' root file system: everything but the host's programs.
//!
//! Only files named here are taken from the host, each of them public on any machine. A tree is named after its
//! content and never changed once it exists, because running sandboxes have it as a layer.

#![warn(clippy::disallowed_methods)]

mod cover;
mod entries;
mod groups;
mod kernel;
mod scan;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use self::cover::Cover;
use entries::{Content, Entry};
pub use groups::{Place, places};
pub use kernel::{NOTHING, NOTHING_DIR, SHOWN_SETTINGS};
use serde::{Deserialize, Serialize};

/// Top-level names that are links into `/usr` on merged systems and directories elsewhere.
const PROGRAM_DIRS: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Where the host's programs are.
const PROGRAMS: &str = "/usr";

/// The read-only part of a root file system.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BaseTree {
    /// The generated tree everything is mounted into.
    pub skeleton: PathBuf,
    /// A layer between them and the host's programs, which hides what is private.
    pub cover: PathBuf,
    /// Directories of the host shown read-only, names relative to the root (`bin` where it is no link).
    pub binds: Vec<String>,
}

/// Makes sure the tree and the layer over the host's programs exist below `base_dir`, and says where.
///
/// # Errors
///
/// A file of the host cannot be read, or one of the tree not made.
pub fn prepare(base_dir: &Path) -> io::Result<BaseTree> {
    let programs = scan::scan(Path::new(PROGRAMS))?;
    let mut cover = Cover::default();
    cover.hide(&programs.private)?;
    if let Some((at, target)) = python() {
        cover.link(&at, &target)?;
    }
    let mut entries = entries::generated();
    entries.extend(kernel::files());
    entries.extend(entries::from_host(Path::new("/etc"))?);
    entries.extend(entries::linked(&programs.into_etc)?);
    let mut binds = Vec::new();
    for name in PROGRAM_DIRS {
        let path = Path::new("/").join(name);
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                let target = std::fs::read_link(&path)?;
                entries.push(Entry::link(name, target));
            }
            Ok(found) if found.is_dir() => {
                entries.push(Entry::dir(name, 0o755));
                cover.dir(&path)?;
                cover.hide(&scan::scan(&path)?.private)?;
                binds.push(name.to_owned());
            }
            _ => {}
        }
    }
    let entries = entries::without_contradictions(entries);
    let mut hasher = DefaultHasher::new();
    entries.hash(&mut hasher);
    let skeleton = base_dir.join(format!("tree-{:016x}", hasher.finish()));
    if !skeleton.is_dir() {
        make_whole(&skeleton, |unfinished| {
            entries.iter().try_for_each(|entry| write(entry, &unfinished.join(&entry.path)))
        })?;
    }
    Ok(BaseTree { skeleton, cover: cover.prepare(base_dir)?, binds })
}

/// What not everybody on the host may read of its programs. No sandbox sees it.
///
/// # Errors
///
/// Something cannot be looked at.
pub fn private_programs() -> io::Result<Vec<PathBuf>> {
    Ok(scan::scan(Path::new(PROGRAMS))?.private.into_iter().collect())
}

/// The link by which scripts find Python, where the host has it under its longer name only.
fn python() -> Option<(PathBuf, PathBuf)> {
    let in_dirs = |name: &str| {
        ["/usr/local/bin", "/usr/bin"].iter().map(|dir| Path::new(dir).join(name)).find(|path| path.exists())
    };
    let python = in_dirs("python3").filter(|_| in_dirs("python").is_none())?;
    let at = Path::new("/usr/local/bin");
    let at = if at.is_dir() { at } else { Path::new("/usr/bin") };
    Some((at.join("python"), python))
}

/// Makes a directory that is there whole or not at all.
fn make_whole(at: &Path, fill: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let unfinished = at.with_extension("new");
    match std::fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::create_dir_all(&unfinished)?;
    std::fs::set_permissions(&unfinished, PermissionsExt::from_mode(0o755))?;
    fill(&unfinished)?;
    std::fs::rename(unfinished, at)
}

fn write(entry: &Entry, path: &Path) -> io::Result<()> {
    make_parents(path)?;
    match &entry.content {
        Content::Dir => std::fs::create_dir_all(path)?,
        Content::File(bytes) => std::fs::write(path, bytes)?,
        Content::Link(target) => std::os::unix::fs::symlink(target, path)?,
    }
    if !matches!(entry.content, Content::Link(_)) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(entry.mode))?;
    }
    lchown(path, Some(entry.owner), Some(entry.owner))
}

/// Directories that no entry names are everybody's to read, whatever the server's own habit is.
fn make_parents(path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent().filter(|parent| !parent.is_dir()) else { return Ok(()) };
    make_parents(parent)?;
    std::fs::create_dir(parent)?;
    std::fs::set_permissions(parent, PermissionsExt::from_mode(0o755))
}

/// Removes trees that no longer match the host, once no sandbox is left that could use one.
///
/// # Errors
///
/// A tree cannot be removed.
pub fn remove_others(base_dir: &Path, current: &BaseTree) -> io::Result<()> {
    for entry in std::fs::read_dir(base_dir)? {
        let path: PathBuf = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_tree = name.starts_with("tree-") || name.starts_with("cover-");
        if is_tree && path != current.skeleton && path != current.cover {
            std::fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}
