use std::os::unix::fs::symlink;

use sandscope_agent_protocol::filesystem::FileType;
use tempfile::TempDir;

use sandscope_agent_protocol::filesystem::ListDirResponse;

use super::*;
use crate::filesystem::list::{MAX_DEPTH, MAX_ENTRIES, MAX_LISTING_BYTES};

fn list(path: &str, depth: u32) -> Result<ListDirResponse, ConnectError> {
    let bytes = crate::filesystem::list::list(path, depth)?;
    Ok(serde_json::from_slice(&bytes).unwrap())
}

fn remove(path: &str) -> Result<(), ConnectError> {
    super::remove(path, Some(&Caller::new(&|| false))).map(Option::unwrap)
}

fn rename(source: &str, destination: &str, owner: Owner) -> Result<EntryInfo, ConnectError> {
    super::rename(source, destination, owner, None).map(Option::unwrap)
}

fn me() -> Owner {
    (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}

fn scene() -> (TempDir, String) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().to_str().unwrap().to_owned();
    (directory, path)
}

#[test]
fn directories_are_made_with_their_parents_and_only_once() {
    let (_keep, root) = scene();
    let path = format!("{root}/a/b/c");
    let entry = make_dir(&path, me()).unwrap();
    assert_eq!((entry.name.as_str(), entry.file_type, entry.mode), ("c", FileType::Directory, 0o755));
    assert_eq!(make_dir(&path, me()).unwrap_err().code, Code::AlreadyExists);
    fs::write(format!("{root}/f"), "x").unwrap();
    assert_eq!(make_dir(&format!("{root}/f"), me()).unwrap_err().code, Code::InvalidArgument);
    assert_eq!(make_dir(&format!("{root}/f/g"), me()).unwrap_err().code, Code::InvalidArgument);
}

#[test]
fn listings_go_as_deep_as_asked_and_follow_no_links() {
    let (_keep, root) = scene();
    make_dir(&format!("{root}/a/b"), me()).unwrap();
    fs::write(format!("{root}/a/f"), "12345").unwrap();
    symlink(&root, format!("{root}/loop")).unwrap();
    symlink("/nowhere/at/all", format!("{root}/broken")).unwrap();
    let paths = |depth| {
        let entries = list(&root, depth).unwrap().entries;
        entries.iter().map(|entry| entry.path[root.len()..].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(paths(0), ["/a", "/broken", "/loop"]);
    assert_eq!(paths(1), paths(0));
    assert_eq!(paths(2), ["/a", "/a/b", "/a/f", "/broken", "/loop"]);
    assert_eq!(paths(u32::MAX), paths(2));

    let entries = list(&root, 2).unwrap().entries;
    assert_eq!((entries[2].size, entries[2].file_type), (5, FileType::File));
    assert_eq!(entries[3].file_type, FileType::Symlink);
    assert_eq!(entries[3].symlink_target.as_deref(), Some("/nowhere/at/all"));
    assert_eq!(entries[4].file_type, FileType::Directory);

    assert_eq!(list(&format!("{root}/no"), 1).unwrap_err().code, Code::NotFound);
    let error = list(&format!("{root}/a/f"), 1).unwrap_err();
    assert_eq!(
        error,
        ConnectError::new(Code::InvalidArgument, format!("path is not a directory: {root}/a/f"))
    );
}

#[test]
fn removing_takes_trees_and_links_but_not_what_links_lead_to() {
    let (_keep, root) = scene();
    make_dir(&format!("{root}/kept"), me()).unwrap();
    make_dir(&format!("{root}/tree/deep"), me()).unwrap();
    symlink(format!("{root}/kept"), format!("{root}/tree/link")).unwrap();
    symlink(format!("{root}/kept"), format!("{root}/link")).unwrap();
    remove(&format!("{root}/tree")).unwrap();
    remove(&format!("{root}/link")).unwrap();
    remove(&format!("{root}/never")).unwrap();
    assert!(fs::metadata(format!("{root}/kept")).unwrap().is_dir());
    assert_eq!(list(&root, 1).unwrap().entries.len(), 1);
}

#[test]
fn moving_makes_the_way_and_misses_what_is_not_there() {
    let (_keep, root) = scene();
    fs::write(format!("{root}/f"), "x").unwrap();
    let entry = rename(&format!("{root}/f"), &format!("{root}/to/g"), me()).unwrap();
    assert_eq!(entry.path, format!("{root}/to/g"));
    let error = rename(&format!("{root}/f"), &format!("{root}/h"), me()).unwrap_err();
    assert_eq!(error.code, Code::NotFound);
    assert!(error.message.starts_with("source file not found"));
    assert_eq!(stat(&format!("{root}/f")).unwrap_err().message, format!("file not found: {root}/f"));
}

#[test]
fn a_tree_is_removed_as_long_as_somebody_waits() {
    let (_keep, root) = scene();
    let tree = format!("{root}/tree");
    // More than are remembered at a time, on two levels.
    for number in 0..1500 {
        let path = format!("{tree}/{}/{number}", number % 3);
        make_dir(&path, me()).unwrap();
        fs::write(format!("{path}/f"), "").unwrap();
    }
    assert_eq!(super::remove(&tree, None).unwrap(), None);
    let asked = std::cell::Cell::new(0);
    let is_gone = || asked.replace(asked.get() + 1) >= 100;
    assert!(super::remove(&tree, Some(&Caller::new(&is_gone))).is_err());
    assert!(fs::exists(&tree).unwrap() && asked.get() == 101);
    remove(&tree).unwrap();
    assert!(!fs::exists(&tree).unwrap());
    make_dir(&tree, me()).unwrap();
    assert_eq!(super::remove(&tree, None).unwrap(), Some(()));
    assert!(!fs::exists(&tree).unwrap());
}

#[test]
fn a_tree_of_any_depth_is_removed_on_a_small_stack() {
    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
    let (_keep, root) = scene();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = openat(CWD, root.as_str(), flags, Mode::empty()).unwrap();
    for _ in 0..1000 {
        mkdirat(&here, "d", Mode::RWXU).unwrap();
        here = openat(&here, "d", flags, Mode::empty()).unwrap();
        mkdirat(&here, "empty", Mode::RWXU).unwrap();
    }
    let path = format!("{root}/d");
    let thread = std::thread::Builder::new().stack_size(crate::pool::STACK_BYTES / 4);
    thread.spawn(move || remove(&path).unwrap()).unwrap().join().unwrap();
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
}

#[test]
fn a_listing_is_bounded_in_bytes_as_well() {
    let (_keep, root) = scene();
    let target = "t".repeat(4000);
    for number in 0..=MAX_LISTING_BYTES / target.len() {
        symlink(&target, format!("{root}/{number}")).unwrap();
    }
    assert_eq!(list(&root, 1).unwrap_err().code, Code::ResourceExhausted);
}

#[test]
fn a_huge_directory_is_refused_before_it_fills_memory() {
    let (_keep, root) = scene();
    for number in 0..=MAX_ENTRIES {
        fs::write(format!("{root}/{number}"), "").unwrap();
    }
    let error = list(&root, 1).unwrap_err();
    assert_eq!(error.code, Code::ResourceExhausted);
    assert!(error.message.contains("entries"), "{error}");
    fs::remove_file(format!("{root}/0")).unwrap();
    assert_eq!(list(&root, 1).unwrap().entries.len(), MAX_ENTRIES);
    remove(&root).unwrap();
}

#[test]
fn names_that_are_no_text_are_listed_and_removed() {
    use std::os::unix::ffi::OsStrExt as _;
    let (_keep, root) = scene();
    for name in [&b"a\xffb"[..], b"new\nline", b" ", b"\"quoted\"", "\u{202e}".as_bytes()] {
        fs::write(Path::new(&root).join(std::ffi::OsStr::from_bytes(name)), "12").unwrap();
    }
    let entries = list(&root, 1).unwrap().entries;
    let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, [" ", "\"quoted\"", "a\u{fffd}b", "new\nline", "\u{202e}"]);
    assert!(entries.iter().all(|entry| entry.size == 2));
    remove(&root).unwrap();
    assert_eq!(stat(&root).unwrap_err().code, Code::NotFound);
}

#[test]
fn the_root_stays() {
    assert_eq!(remove("/").unwrap_err().code, Code::InvalidArgument);
}

#[test]
fn a_listing_is_bounded_in_levels_and_never_cut() {
    let (_keep, root) = scene();
    make_dir(&format!("{root}{}", "/d".repeat(MAX_DEPTH)), me()).unwrap();
    let deepest = u32::try_from(MAX_DEPTH).unwrap();
    // Whoever means all gets all.
    assert_eq!(list(&root, u32::MAX).unwrap_err().code, Code::ResourceExhausted);
    assert_eq!(list(&root, deepest).unwrap().entries.len(), MAX_DEPTH);
    assert_eq!(list(&format!("{root}/d"), u32::MAX).unwrap().entries.len(), MAX_DEPTH - 1);
}

#[test]
fn many_links_at_the_end_of_a_long_way() {
    let (_keep, root) = scene();
    let mut path = root.clone();
    while path.len() < 3900 {
        path.push_str("/d");
    }
    make_dir(&path, me()).unwrap();
    // Each name of the way looked at for each link took a minute.
    for number in 0..300 {
        symlink("..", format!("{path}/{number}")).unwrap();
    }
    let entries = list(&path, 1).unwrap().entries;
    assert_eq!(entries.len(), 300);
    let above = path.strip_suffix("/d");
    assert!(entries.iter().all(|entry| entry.symlink_target.as_deref() == above));
    assert!(entries.iter().all(|entry| entry.file_type == FileType::Directory && entry.is_symlink));
    remove(&format!("{root}/d")).unwrap();
}

/// Does `work` with the rights of nobody.
fn as_nobody<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|threads| {
        let thread = threads.spawn(|| {
            // Of this thread alone.
            let nobody = rustix::process::Uid::from_raw(65534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

#[test]
fn a_directory_that_cannot_be_read_is_listed_and_not_entered() {
    if !rustix::process::getuid().is_root() {
        return;
    }
    let (_keep, root) = scene();
    fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for name in ["a", "b/c", "d"] {
        make_dir(&format!("{root}/{name}"), me()).unwrap();
        fs::write(format!("{root}/{name}/f"), "").unwrap();
    }
    for (name, mode) in [("b/c", 0o000), ("d", 0o444)] {
        fs::set_permissions(format!("{root}/{name}"), std::os::unix::fs::PermissionsExt::from_mode(mode))
            .unwrap();
    }
    let entries = as_nobody(|| list(&root, 9)).unwrap().entries;
    let paths: Vec<_> = entries.iter().map(|entry| &entry.path[root.len()..]).collect();
    // Names in a directory that may be read and not searched cannot be described.
    assert_eq!(paths, ["/a", "/a/f", "/b", "/b/c", "/d"]);
    // What is asked for itself is refused.
    let refused = as_nobody(|| list(&format!("{root}/b/c"), 9)).unwrap_err();
    assert_eq!(refused.code, Code::PermissionDenied);
}
