//! The agent does nothing for a program that the program could not do itself, whatever it is asked meanwhile.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use serde_json::json;

use crate::client::Agent;
use crate::files::scene;

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
