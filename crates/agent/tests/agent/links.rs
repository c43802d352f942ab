//! A link leads nowhere its owner could not go.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};

use serde_json::{Value, json};

use crate::client::Agent;
use crate::files::{OCTETS, scene};

/// Who plants links.
const OTHER: u32 = 1000;

struct Scene {
    agent: Agent,
    _keep: tempfile::TempDir,
    root: String,
}

impl Scene {
    /// `ours` belongs to root, `theirs` to somebody else, and links of both lie in `home`: to a file of ours and to one
    /// that is missing, to our directory and to theirs.
    fn new() -> Option<Self> {
        if !rustix::process::getuid().is_root() {
            return None;
        }
        let (agent, keep, root) = scene();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        for directory in ["ours", "theirs", "home"] {
            fs::create_dir(format!("{root}/{directory}")).unwrap();
        }
        for directory in ["theirs", "home"] {
            chown(format!("{root}/{directory}"), Some(OTHER), Some(OTHER)).unwrap();
        }
        fs::write(format!("{root}/ours/file"), "ours").unwrap();
        fs::write(format!("{root}/ours/secret"), "secret").unwrap();
        fs::set_permissions(format!("{root}/ours/secret"), fs::Permissions::from_mode(0o600)).unwrap();
        for (owner, uid) in [("planted", OTHER), ("root", 0)] {
            for (name, target) in [
                ("file", "../ours/file".to_owned()),
                ("secret", format!("{root}/ours/secret")),
                ("missing", format!("{root}/ours/missing")),
                ("ours", "../ours".to_owned()),
                ("theirs", format!("{root}/theirs")),
            ] {
                let link = format!("{root}/home/{owner}-{name}");
                symlink(target, &link).unwrap();
                lchown(&link, Some(uid), Some(uid)).unwrap();
            }
        }
        Some(Self { agent, _keep: keep, root })
    }

    fn put(&self, path: &str) -> u16 {
        let url = format!("/files?path={}/home/{path}", self.root);
        self.agent.call("POST", &url, &[OCTETS, ("x-metadata-a", "b")], b"new").status
    }

    fn get(&self, path: &str) -> u16 {
        self.agent.call("GET", &format!("/files?path={}/home/{path}", self.root), &[], b"").status
    }

    fn call(&self, method: &str, message: &Value) -> u16 {
        self.agent.unary(&format!("/filesystem.Filesystem/{method}"), message).0
    }

    fn compose(&self, source: &str, destination: &str) -> u16 {
        let path = |path: &str| format!("{}/{path}", self.root);
        let body = json!({"source_paths": [path(source)], "destination": path(destination)}).to_string();
        let headers = [("content-type", "application/json")];
        self.agent.call("POST", "/files/compose", &headers, body.as_bytes()).status
    }

    /// Names, owners and contents of what is ours.
    fn ours(&self) -> Vec<(String, u32, Vec<u8>)> {
        let entries = fs::read_dir(format!("{}/ours", self.root)).unwrap();
        let mut found: Vec<_> = entries
            .map(|entry| {
                let entry = entry.unwrap();
                let contents = fs::read(entry.path()).unwrap_or_default();
                (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().uid(), contents)
            })
            .collect();
        found.sort();
        found
    }
}

#[test]
fn a_planted_link_changes_nothing_that_whoever_planted_it_could_not() {
    let Some(scene) = Scene::new() else { return };
    let (root, before) = (&scene.root, scene.ours());
    fs::write(format!("{root}/home/own"), "x").unwrap();
    let home = |path: &str| format!("{root}/home/{path}");
    assert_eq!(scene.put("planted-file"), 403);
    assert_eq!(scene.put("planted-missing"), 403);
    assert_eq!(scene.put("planted-ours/new"), 403);
    assert_eq!(scene.put("planted-ours/a/b/new"), 403);
    assert_eq!(scene.call("MakeDir", &json!({"path": home("planted-ours/new")})), 403);
    assert_eq!(scene.call("MakeDir", &json!({"path": home("planted-ours/a/b")})), 403);
    assert_eq!(scene.call("Remove", &json!({"path": home("planted-ours/file")})), 403);
    let into = json!({"source": home("own"), "destination": home("planted-ours/own")});
    assert_eq!(scene.call("Move", &into), 403);
    let out = json!({"source": home("planted-ours/file"), "destination": home("out")});
    assert_eq!(scene.call("Move", &out), 403);
    assert_eq!(scene.compose("home/own", "home/planted-file"), 403);
    assert_eq!(scene.compose("home/own", "home/planted-ours/new"), 403);
    assert_eq!(scene.compose("home/planted-ours/file", "home/new"), 403);
    assert_eq!(scene.get("planted-secret"), 403);
    assert_eq!(scene.ours(), before);
    assert!(fs::exists(home("own")).unwrap() && !fs::exists(home("new")).unwrap());
    // What everybody may read, and a link that is meant itself.
    assert_eq!(scene.get("planted-file"), 200);
    assert_eq!(scene.call("Remove", &json!({"path": home("planted-file")})), 200);
    assert_eq!(scene.ours(), before);
    // Through links of two users nobody could go.
    let link = format!("{root}/theirs/link");
    symlink(format!("{root}/theirs"), &link).unwrap();
    lchown(&link, Some(OTHER + 1), Some(OTHER + 1)).unwrap();
    assert_eq!(scene.put("planted-theirs/link/new"), 403);
    // The threads are what they were before.
    for _ in 0..20 {
        assert_eq!(scene.call("MakeDir", &json!({"path": format!("{root}/ours/later")})), 200);
        assert_eq!(scene.call("Remove", &json!({"path": format!("{root}/ours/later")})), 200);
    }
}

#[test]
fn links_lead_where_their_owner_may_go() {
    let Some(scene) = Scene::new() else { return };
    let root = &scene.root;
    let home = |path: &str| format!("{root}/home/{path}");
    assert_eq!(scene.put("planted-theirs/a/b/new"), 200);
    assert_eq!(fs::read(format!("{root}/theirs/a/b/new")).unwrap(), b"new");
    assert_eq!(fs::metadata(format!("{root}/theirs/a/b/new")).unwrap().uid(), OTHER);
    assert_eq!(scene.call("MakeDir", &json!({"path": home("planted-theirs/c/d")})), 200);
    let out = json!({"source": home("planted-theirs/a/b/new"), "destination": home("out")});
    assert_eq!(scene.call("Move", &out), 200);
    assert_eq!(scene.call("Remove", &json!({"path": home("planted-theirs/c")})), 200);
    assert_eq!(scene.compose("home/out", "home/planted-theirs/whole"), 200);
    // Root's own links, and paths without any, lead anywhere.
    assert_eq!(scene.put("root-file"), 200);
    assert_eq!(scene.put("root-missing"), 200);
    assert_eq!(scene.put("root-ours/a/new"), 200);
    assert_eq!(scene.get("root-secret"), 200);
    assert_eq!(scene.call("Remove", &json!({"path": home("root-ours/a")})), 200);
    let names: Vec<_> = scene.ours().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["file", "missing", "secret"]);
    assert_eq!(scene.put("../theirs/direct"), 200);
    assert_eq!(fs::metadata(format!("{root}/theirs/direct")).unwrap().uid(), 0);
}

#[test]
fn an_upload_that_fails_beyond_a_link_leaves_the_link() {
    let Some(scene) = Scene::new() else { return };
    let url = format!("/files?path={}/home/root-missing", scene.root);
    let headers = [OCTETS, ("content-encoding", "gzip")];
    assert_eq!(scene.agent.call("POST", &url, &headers, b"no gzip").status, 400);
    assert!(fs::symlink_metadata(format!("{}/home/root-missing", scene.root)).is_ok());
    assert!(!fs::exists(format!("{}/ours/missing", scene.root)).unwrap());
}
