//! The generated part of sandboxes' root file system: everything but the host's programs.
//!
//! Only files named here are taken from the host, each of them public on any machine. A tree is named after its
//! content and never changed once it exists, because running sandboxes have it as a layer.

mod entries;
pub(crate) mod kernel;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use super::protocol::BaseTree;
pub(crate) use entries::{Content, Entry};

/// Top-level names that are links into `/usr` on merged systems and directories elsewhere.
const PROGRAM_DIRS: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Makes sure the tree exists below `base_dir` and says where.
pub(crate) fn prepare(base_dir: &Path) -> io::Result<BaseTree> {
    let mut entries = entries::generated();
    entries.extend(kernel::files());
    entries.extend(entries::from_host(Path::new("/etc"))?);
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
                binds.push(name.to_owned());
            }
            _ => {}
        }
    }
    let mut hasher = DefaultHasher::new();
    entries.hash(&mut hasher);
    let skeleton = base_dir.join(format!("tree-{:016x}", hasher.finish()));
    if !skeleton.is_dir() {
        build(&entries, &skeleton)?;
    }
    Ok(BaseTree { skeleton, binds })
}

fn build(entries: &[Entry], at: &Path) -> io::Result<()> {
    let unfinished = at.with_extension("new");
    match std::fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::create_dir_all(&unfinished)?;
    std::fs::set_permissions(&unfinished, PermissionsExt::from_mode(0o755))?;
    for entry in entries {
        write(entry, &unfinished.join(&entry.path))?;
    }
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
pub(crate) fn remove_others(base_dir: &Path, current: &BaseTree) -> io::Result<()> {
    for entry in std::fs::read_dir(base_dir)? {
        let path: PathBuf = entry?.path();
        let is_tree = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tree-"));
        if is_tree && path != current.skeleton {
            std::fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}
