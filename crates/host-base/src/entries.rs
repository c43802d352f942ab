use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use super::scan::is_public;

/// Something in the tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) mode: u32,
    /// User and group alike.
    pub(crate) owner: u32,
    pub(crate) content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Content {
    Dir,
    File(Vec<u8>),
    Link(PathBuf),
}

impl Entry {
    pub(crate) fn dir(path: &str, mode: u32) -> Self {
        Self { path: path.into(), mode, owner: 0, content: Content::Dir }
    }

    pub(crate) fn file(path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode: 0o644, owner: 0, content: Content::File(content.into()) }
    }

    pub(crate) fn link(path: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), mode: 0o777, owner: 0, content: Content::Link(target.into()) }
    }

    fn n_bytes(&self) -> usize {
        match &self.content {
            Content::File(bytes) => bytes.len(),
            Content::Dir | Content::Link(_) => 0,
        }
    }

    fn owned_by(self, owner: u32) -> Self {
        Self { owner, ..self }
    }
}

/// The user that commands run as by default.
const USER: u32 = 1000;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bin:x:2:2:bin:/bin:/usr/sbin/nologin
sys:x:3:3:sys:/dev:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
user:x:1000:1000:user:/home/user:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
";
const GROUP: &str = "root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
mail:x:8:
www-data:x:33:
utmp:x:43:
staff:x:50:
users:x:100:user
user:x:1000:
nogroup:x:65534:
";
const HOSTS: &str = "127.0.0.1\tlocalhost sandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n\
                        protocols: files\nservices: files\n";
const RESOLV: &str = "# There is no way out of this sandbox's network yet.\noptions timeout:1 attempts:1\n";
/// For every service: root needs no password, others theirs. The host's own may name programs and files that are not here.
const PAM: &str = "auth sufficient pam_rootok.so\nauth required pam_unix.so\naccount required pam_permit.so\n\
                   password required pam_unix.so\nsession required pam_permit.so\n";
const BASHRC: &str = "[ -f /etc/bash.bashrc ] && . /etc/bash.bashrc\n";
const PROFILE: &str = "[ -n \"$BASH_VERSION\" ] && [ -f ~/.bashrc ] && . ~/.bashrc\n";

/// What is the same on every host.
pub(crate) fn generated() -> Vec<Entry> {
    let mut entries: Vec<Entry> =
        ["boot", "dev", "etc", "home", "media", "mnt", "opt", "proc", "run", "srv", "sys"]
            .iter()
            .chain(&["usr", "var", "var/cache", "var/lib", "var/lib/misc", "var/log", "var/spool", "etc/ssl"])
            .chain(&["etc/pam.d"])
            .map(|path| Entry::dir(path, 0o755))
            .collect();
    entries.extend([
        Entry::dir("root", 0o700),
        Entry::dir("tmp", 0o1777),
        Entry::dir("var/tmp", 0o1777),
        Entry::link("var/run", "/run"),
        Entry::link("var/lock", "/run/lock"),
        Entry::link("etc/mtab", "../proc/self/mounts"),
        Entry::file("etc/passwd", PASSWD),
        Entry::file("etc/group", GROUP),
        Entry::file("etc/shells", "/bin/sh\n/bin/bash\n"),
        Entry::file("etc/hosts", HOSTS),
        Entry::file("etc/hostname", "sandbox\n"),
        Entry::file("etc/resolv.conf", RESOLV),
        Entry::file("etc/nsswitch.conf", NSSWITCH),
        Entry::file("etc/fstab", ""),
        Entry::file("etc/pam.d/other", PAM),
        Entry::dir("home/user", 0o755).owned_by(USER),
    ]);
    for (home, owner) in [("root", 0), ("home/user", USER)] {
        entries.push(Entry::file(format!("{home}/.bashrc"), BASHRC).owned_by(owner));
        entries.push(Entry::file(format!("{home}/.profile"), PROFILE).owned_by(owner));
    }
    entries
}

/// Files of the host's `/etc` that programs need and that hold no secrets.
const FILES: [&str; 17] = [
    "ld.so.cache",
    "ld.so.conf",
    "localtime",
    "timezone",
    "profile",
    "bash.bashrc",
    "inputrc",
    "os-release",
    "debian_version",
    "mime.types",
    "protocols",
    "services",
    "rpc",
    "networks",
    "gai.conf",
    "login.defs",
    "magic",
];
const DIRS: [&str; 10] = [
    "alternatives",
    "ld.so.conf.d",
    "ssl/certs",
    "ca-certificates",
    "profile.d",
    "terminfo",
    "fonts",
    "python3",
    "python3.11",
    "perl",
];
/// Nothing taken from the host is larger than this in one file.
const MAX_FILE: u64 = 8 << 20;
const MAX_DEPTH: u32 = 4;

/// Files in directories that the host's programs link into, and their bytes, are no more than these.
const MAX_LINKED_FILES: usize = 4096;
const MAX_LINKED_BYTES: usize = 32 << 20;

/// Directories of the host's `/etc` that its programs link to or into: without them Java and R do not start. Only what
/// everybody on the host may read is taken.
pub(crate) fn linked(targets: &BTreeSet<PathBuf>) -> io::Result<Vec<Entry>> {
    let dir_of = |target: &PathBuf| {
        if target.is_dir() { Some(target.clone()) } else { Some(target.parent()?.to_owned()) }
    };
    let mut dirs: BTreeSet<PathBuf> = targets.iter().filter_map(dir_of).collect();
    // `/etc` itself is not one of them.
    dirs.remove(Path::new("/etc"));
    let mut entries = Vec::new();
    for dir in dirs {
        collect(&dir, dir.strip_prefix("/").unwrap_or(&dir), MAX_DEPTH, &mut entries)?;
        let n_bytes: usize = entries.iter().map(Entry::n_bytes).sum();
        if entries.len() > MAX_LINKED_FILES || n_bytes > MAX_LINKED_BYTES {
            tracing::warn!(dir = %dir.display(), "too much of /etc is linked from /usr; the rest is left out");
            break;
        }
    }
    Ok(entries)
}

/// The first of each path, without what would lie behind a link: writing it would follow that link on the host.
pub(crate) fn without_contradictions(entries: Vec<Entry>) -> Vec<Entry> {
    let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
    let mut seen: HashMap<PathBuf, bool> = HashMap::new();
    for entry in entries {
        let is_link = matches!(entry.content, Content::Link(_));
        let is_behind_link = entry.path.ancestors().skip(1).any(|parent| seen.get(parent) == Some(&true));
        // A link where something lies below already would take its place.
        let has_children = is_link && kept.iter().any(|other| other.path.starts_with(&entry.path));
        if !is_behind_link && !has_children && !seen.contains_key(&entry.path) {
            seen.insert(entry.path.clone(), is_link);
            kept.push(entry);
        }
    }
    kept
}

/// What is taken from the host's `/etc`, read now.
pub(crate) fn from_host(etc: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for name in FILES {
        // Links are followed: `localtime` and `os-release` often are ones, into places not visible inside.
        let path = etc.join(name);
        match std::fs::metadata(&path) {
            Ok(found) if found.is_file() && found.len() <= MAX_FILE => {
                entries.push(Entry::file(Path::new("etc").join(name), std::fs::read(&path)?));
            }
            _ => {}
        }
    }
    for name in DIRS {
        collect(&etc.join(name), &Path::new("etc").join(name), MAX_DEPTH, &mut entries)?;
    }
    Ok(entries)
}

fn collect(from: &Path, to: &Path, depth: u32, entries: &mut Vec<Entry>) -> io::Result<()> {
    if depth == 0 || !std::fs::metadata(from).is_ok_and(|found| found.is_dir() && is_public(&found)) {
        return Ok(());
    }
    entries.push(Entry { path: to.to_owned(), mode: 0o755, owner: 0, content: Content::Dir });
    let mut found = std::fs::read_dir(from)?.collect::<io::Result<Vec<_>>>()?;
    found.sort_by_key(std::fs::DirEntry::file_name);
    for entry in found {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        let kind = std::fs::symlink_metadata(&path)?;
        if kind.is_symlink() {
            entries.push(Entry::link(to, std::fs::read_link(&path)?));
        } else if kind.is_dir() {
            collect(&path, &to, depth - 1, entries)?;
        } else if kind.is_file() && kind.len() <= MAX_FILE && is_public(&kind) {
            entries.push(Entry::file(to, std::fs::read(&path)?));
        }
    }
    Ok(())
}
