//! The agent does nothing for a program that the program could not do itself, whatever it is asked meanwhile.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;

use crate::client::Agent;
use crate::files::{OCTETS, scene};

/// A user of every system who is not root.
pub(crate) const NOBODY: (&str, u32) = ("nobody", 65534);

/// A directory of nobody's, where a file of root's lies that nobody else may read. `None` where we are not root.
fn theirs() -> Option<(Agent, tempfile::TempDir, String)> {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let (agent, keep, root) = scene();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    chown(&root, Some(NOBODY.1), Some(NOBODY.1)).unwrap();
    let secret = format!("{root}/secret");
    fs::write(&secret, "secret").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    Some((agent, keep, root))
}

fn compose(agent: &Agent, sources: &[String], destination: &str, user: &str) -> u16 {
    let body = json!({"source_paths": sources, "destination": destination, "username": user}).to_string();
    let headers = [("content-type", "application/json")];
    agent.call("POST", "/files/compose", &headers, body.as_bytes()).status
}

#[test]
fn files_become_one_only_for_who_may_read_them() {
    let Some((agent, _keep, root)) = theirs() else { return };
    let path = |name: &str| format!("{root}/{name}");
    // Behind a door that is closed to them, and renamed by them.
    fs::create_dir(path("closed")).unwrap();
    fs::write(path("closed/file"), "closed").unwrap();
    fs::set_permissions(path("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(path("own"), "own").unwrap();
    chown(path("own"), Some(NOBODY.1), Some(NOBODY.1)).unwrap();
    fs::set_permissions(path("own"), fs::Permissions::from_mode(0o600)).unwrap();
    for source in ["secret", "closed/file"] {
        let sources = [path("own"), path(source)];
        assert_eq!(compose(&agent, &sources, &path("out"), NOBODY.0), 403, "{source}");
        assert!(sources.iter().all(|source| fs::exists(source).unwrap()));
        assert!(!fs::exists(path("out")).unwrap());
    }
    assert_eq!(compose(&agent, &[path("own")], &path("out"), NOBODY.0), 200);
    assert_eq!(fs::metadata(path("out")).unwrap().uid(), NOBODY.1);
    assert_eq!(
        compose(&agent, &[path("secret"), path("closed/file"), path("out")], &path("all"), "root"),
        200
    );
    assert_eq!(fs::read(path("all")).unwrap(), b"secretclosedown");
}

/// Where the host says so (`fs.protected_regular`), nobody may make what is there and somebody else's.
#[test]
fn strangers_files_in_everybodys_directory_are_written() {
    let Some((agent, _keep, root)) = theirs() else { return };
    chown(&root, Some(0), Some(0)).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o1777)).unwrap();
    let path = format!("{root}/f");
    fs::write(&path, "old").unwrap();
    chown(&path, Some(NOBODY.1), Some(NOBODY.1)).unwrap();
    assert_eq!(agent.call("POST", &format!("/files?path={path}"), &[OCTETS], b"new").status, 200);
    assert_eq!(fs::read(&path).unwrap(), b"new");
}

/// Does `work` again and again as nobody, on a thread of its own, while `asked` is done.
fn beside<T>(work: impl Fn() + Sync, asked: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            // Of this thread alone.
            let nobody = rustix::process::Uid::from_raw(NOBODY.1);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            while !over.load(Ordering::Relaxed) {
                work();
            }
        });
        let _over = Over(&over);
        asked()
    })
}

/// Ends it, whatever happens.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// On another file system than other temporary directories.
fn elsewhere() -> (tempfile::TempDir, String) {
    let keep = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = keep.path().to_str().unwrap().to_owned();
    chown(&path, Some(NOBODY.1), Some(NOBODY.1)).unwrap();
    (keep, path)
}

fn names(directory: &str) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

#[test]
fn what_gets_the_name_of_an_unfinished_copy_is_not_given_away() {
    let Some((agent, _keep, root)) = theirs() else { return };
    let (_away, from) = elsewhere();
    let (source, secret, out) = (format!("{from}/big"), format!("{root}/secret"), format!("{root}/out"));
    let attack = || {
        for path in names(&root) {
            if path.to_string_lossy().contains("/.move-") {
                let _ = fs::rename(&secret, path);
            }
        }
    };
    let won = beside(attack, || {
        (0..5).any(|_| {
            fs::write(&source, vec![b'x'; 20_000_000]).unwrap();
            chown(&source, Some(NOBODY.1), Some(NOBODY.1)).unwrap();
            agent.unary("/filesystem.Filesystem/Move", &json!({"source": source, "destination": out}));
            let found: Vec<_> = names(&root)
                .into_iter()
                .filter_map(|path| fs::read(&path).ok().zip(fs::metadata(path).ok()))
                .collect();
            let given = found.iter().any(|(contents, found)| contents == b"secret" && found.uid() != 0);
            let _ = fs::remove_file(&out);
            // What is left of it by its other name may be put over it at any time.
            let fresh = format!("{root}/fresh");
            fs::write(&fresh, "secret").unwrap();
            fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).unwrap();
            fs::rename(&fresh, &secret).unwrap();
            given
        })
    });
    assert!(!won);
}

#[test]
fn a_file_that_is_exchanged_while_it_is_moved_stays_as_closed_as_it_was() {
    let Some((agent, _keep, root)) = theirs() else { return };
    let (_away, to) = elsewhere();
    let (own, secret, out) = (format!("{root}/own"), format!("{root}/secret"), format!("{to}/out"));
    let attack = || {
        let _ = renameat_with(CWD, &own, CWD, &secret, RenameFlags::EXCHANGE);
    };
    let won = beside(attack, || {
        (0..300).any(|_| {
            let fresh = format!("{root}/fresh");
            for (path, contents, uid, mode) in [(&own, "own", NOBODY.1, 0o644), (&secret, "secret", 0, 0o600)]
            {
                fs::write(&fresh, contents).unwrap();
                fs::set_permissions(&fresh, fs::Permissions::from_mode(mode)).unwrap();
                chown(&fresh, Some(uid), Some(uid)).unwrap();
                fs::rename(&fresh, path).unwrap();
            }
            agent.unary("/filesystem.Filesystem/Move", &json!({"source": own, "destination": out}));
            let contents = fs::read(&out).unwrap_or_default();
            contents == b"secret" && fs::metadata(&out).unwrap().mode() & 0o777 != 0o600
        })
    });
    assert!(!won);
}

#[test]
fn nobody_gets_a_link_of_roots_by_having_one_moved() {
    let Some((agent, _keep, root)) = theirs() else { return };
    let (_away, to) = elsewhere();
    let (source, out) = (format!("{root}/link"), format!("{to}/out"));
    let attack = || {
        for path in names(&to) {
            if path.to_string_lossy().contains("/.move-") {
                let _ = fs::rename(path, format!("{to}/mine"));
            }
        }
    };
    let won = beside(attack, || {
        (0..300).any(|_| {
            symlink("/root/secret", &source).unwrap();
            lchown(&source, Some(NOBODY.1), Some(NOBODY.1)).unwrap();
            agent.unary("/filesystem.Filesystem/Move", &json!({"source": source, "destination": out}));
            let won =
                names(&to).iter().any(|path| fs::symlink_metadata(path).is_ok_and(|found| found.uid() == 0));
            let _ = (fs::remove_file(&source), fs::remove_file(format!("{to}/mine")), fs::remove_file(&out));
            won
        })
    });
    assert!(!won);
}

#[test]
fn a_directory_that_gets_a_new_ones_name_is_not_given_away() {
    let Some((agent, _keep, _root)) = theirs() else { return };
    let (_away, root) = elsewhere();
    let (closed, new) = (format!("{root}/closed"), format!("{root}/new"));
    fs::create_dir(&closed).unwrap();
    let attack = || {
        let _ = renameat_with(CWD, &closed, CWD, &new, RenameFlags::EXCHANGE);
    };
    let made = json!({"path": new});
    let headers = basic(NOBODY.0);
    let headers = [("content-type", "application/json"), ("authorization", headers.as_str())];
    let won = beside(attack, || {
        (0..500).any(|_| {
            // Whatever it is called.
            let opened = fs::File::open(&closed).unwrap();
            assert_eq!(opened.metadata().unwrap().uid(), 0);
            let answer =
                agent.call("POST", "/filesystem.Filesystem/MakeDir", &headers, made.to_string().as_bytes());
            assert!(answer.status < 500);
            let won = opened.metadata().unwrap().uid() != 0;
            let _ = (fs::remove_dir(&new), fs::remove_dir(&closed));
            fs::create_dir(&closed).unwrap();
            won
        })
    });
    assert!(!won);
    let answer = agent.call(
        "POST",
        "/filesystem.Filesystem/MakeDir",
        &headers,
        json!({"path": format!("{root}/a/b")}).to_string().as_bytes(),
    );
    assert_eq!(answer.status, 200);
    for path in ["a", "a/b"] {
        let found = fs::metadata(format!("{root}/{path}")).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (NOBODY.1, nobodys_group(), 0o755));
    }
}

fn basic(user: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:")))
}

fn nobodys_group() -> u32 {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.starts_with("nobody:")).unwrap();
    line.split(':').nth(3).unwrap().parse().unwrap()
}
