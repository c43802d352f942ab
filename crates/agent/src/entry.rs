//! What is at a path, as calls, listings and events of watchers describe it.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use sandscope_agent_protocol::filesystem::{EntryInfo, FileType};

use crate::metadata;
use crate::time_text::rfc3339;
use crate::user::Names;

/// Describes what is at `path`. Of a symbolic link: what it leads to, or itself where it leads nowhere. A name that is
/// no text has a replacement character for each byte that is none.
pub(crate) fn describe(path: &Path, names: &Names) -> io::Result<EntryInfo> {
    let own = fs::symlink_metadata(path)?;
    let link = own.file_type().is_symlink();
    let (target, symlink_target) = if link { followed(path) } else { (None, None) };
    let found = target.as_ref().unwrap_or(&own);
    Ok(EntryInfo {
        name: path.file_name().map_or("/".into(), |name| name.to_string_lossy()).into_owned(),
        file_type: file_type(found),
        path: path.to_string_lossy().into_owned(),
        size: i64::try_from(found.size()).unwrap_or(i64::MAX),
        mode: found.mode() & 0o777,
        permissions: permissions(found.mode()),
        owner: names.user(found.uid()),
        group: names.group(found.gid()),
        modified_time: Some(rfc3339(found.mtime(), u32::try_from(found.mtime_nsec()).unwrap_or_default())),
        symlink_target,
        metadata: metadata::read(path),
        is_symlink: link,
    })
}

/// What is at the end of all links, and its path; where they lead nowhere, what this link says. The kernel follows them
/// once: asking it for every name on a long way takes the square of that.
fn followed(path: &Path) -> (Option<Metadata>, Option<String>) {
    let open = || {
        let file = File::from(open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?);
        Ok::<_, io::Error>((file.metadata()?, fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?))
    };
    let (found, target) = match open() {
        Ok((found, target)) => (Some(found), target),
        Err(_) => (fs::metadata(path).ok(), fs::read_link(path).unwrap_or_default()),
    };
    (found, Some(target.to_string_lossy().into_owned()))
}

fn file_type(found: &Metadata) -> FileType {
    let kind = found.file_type();
    if kind.is_dir() {
        FileType::Directory
    } else if kind.is_symlink() {
        FileType::Symlink
    } else if kind.is_file() {
        FileType::File
    } else {
        FileType::Unspecified
    }
}

/// Kind and special bits as letters, then three times `rwx`.
fn permissions(mode: u32) -> String {
    let mut text = String::new();
    match mode & libc::S_IFMT {
        libc::S_IFDIR => text.push('d'),
        libc::S_IFLNK => text.push('L'),
        libc::S_IFIFO => text.push('p'),
        libc::S_IFSOCK => text.push('S'),
        libc::S_IFCHR => text.push_str("Dc"),
        libc::S_IFBLK => text.push('D'),
        _ => {}
    }
    for (bit, letter) in [(libc::S_ISUID, 'u'), (libc::S_ISGID, 'g'), (libc::S_ISVTX, 't')] {
        if mode & bit != 0 {
            text.push(letter);
        }
    }
    if text.is_empty() {
        text.push('-');
    }
    for (place, letter) in "rwxrwxrwx".chars().enumerate() {
        text.push(if mode & (0o400 >> place) == 0 { '-' } else { letter });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_for_people() {
        for (mode, text) in [
            (0o100_644, "-rw-r--r--"),
            (0o040_755, "drwxr-xr-x"),
            (0o041_777, "dtrwxrwxrwx"),
            (0o104_755, "urwxr-xr-x"),
            (0o120_777, "Lrwxrwxrwx"),
            (0o020_600, "Dcrw-------"),
            (0o100_000, "----------"),
        ] {
            assert_eq!(permissions(mode), text);
        }
    }
}
