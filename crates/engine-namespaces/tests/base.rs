//! What sandboxes see of the host's programs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use support::{Host, User};

/// A directory among the host's programs that goes with the test.
struct HostDir(PathBuf);

impl HostDir {
    fn new() -> Self {
        let dir = Path::new("/usr/local/share").join(format!("sandscope-test-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn file(&self, name: &str, mode: u32) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "the host's\n").unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
}

impl Drop for HostDir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_not_everybody_on_the_host_may_read_nobody_inside_can() {
    if !support::can_run() {
        return;
    }
    let dir = HostDir::new();
    for (name, mode) in
        [("public", 0o644), ("secret", 0o600), ("of-a-group", 0o640), ("closed/inside", 0o644)]
    {
        dir.file(name, mode);
    }
    std::fs::set_permissions(dir.0.join("closed"), PermissionsExt::from_mode(0o700)).unwrap();
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let at = dir.0.to_str().unwrap();
    let script =
        format!("cd {at}; ls; cat public; cat secret of-a-group closed/inside 2>&1 | grep -c 'No such file'");
    assert_eq!(host.run(&id, User::Root, &script).await.stdout, "public\nthe host's\n3\n");
    // All of it, whatever this host has: root may read every file there is, so every file's mode says so.
    let script = "find /usr /bin /sbin /lib* -xdev ! -type l ! -perm -o=r | head; stat -c '%U %a' /usr /usr/local/share";
    assert_eq!(host.run(&id, User::Root, script).await.stdout, "root 755\nroot 755\n");
    // What it makes there is its own.
    let script = format!(
        "cd {at}; mkdir closed && echo mine > closed/inside && echo mine > secret && cat closed/* secret"
    );
    assert_eq!(host.run(&id, User::Root, &script).await.stdout, "mine\nmine\n");
    assert_eq!(std::fs::read_to_string(dir.0.join("secret")).unwrap(), "the host's\n");
    assert!(sandscope_engine_namespaces::linux::private_programs().unwrap().contains(&dir.0.join("closed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_programs_start() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    for (program, script) in [
        ("python3", "python -c 'print(6*7)'"),
        ("java", "java -Xmx32m -version 2>&1 | grep -c Runtime"),
        ("R", "R --version | grep -c 'R version'"),
        ("git", "cd /tmp; git init -q a && ls -A a"),
        ("perl", "perl -MPOSIX -e 'print 42'"),
        ("node", "node -p 6*7"),
    ] {
        if !Path::new("/usr/bin").join(program).exists() {
            eprintln!("SKIPPED, not on this host: {program}");
            continue;
        }
        let ran = host.run(&id, User::User, script).await;
        assert_eq!(ran.code, 0, "{program}: {ran:?}");
    }
    // Nothing came along that is not everybody's.
    let script = "find /etc ! -type l ! -perm -o=r; ls /etc/ssl/private /etc/environment /etc/machine-id";
    assert_eq!(host.run(&id, User::Root, script).await.stdout, "");
}
