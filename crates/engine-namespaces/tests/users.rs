//! Users inside: made by the usual tools, refused where they have no valid id, and owners of what they print to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use support::{Host, User, ask};

#[tokio::test(flavor = "multi_thread")]
async fn the_tools_that_manage_users_work() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let script = "set -e; useradd -m -s /bin/sh anna; groupadd crew; usermod -aG crew anna; \
                  echo anna:word | chpasswd; su anna -c 'id -un; id -Gn; touch ~/x'; stat -c %U /home/anna/x; \
                  gpasswd -d anna crew >/dev/null; passwd -l anna >/dev/null; passwd -S anna | cut -d' ' -f2; \
                  groupdel crew; userdel -r anna; id anna 2>/dev/null || echo gone";
    let ran = host.run(&id, User::Root, script).await;
    assert_eq!((ran.stdout.as_str(), ran.code), ("anna\nanna crew\nanna\nL\ngone\n", 0), "{ran:?}");
}

/// What a program prints to by name is a file to the kernel, with an owner.
#[tokio::test(flavor = "multi_thread")]
async fn output_is_written_by_name_by_every_user() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let script = "echo out > /dev/stdout; echo more >> /dev/stdout; echo err > /dev/stderr; \
                  echo piped | cat /dev/stdin; echo own > /proc/self/fd/1; stat -L -c %U /dev/stdout";
    for (user, name) in [(User::User, "user"), (User::Root, "root")] {
        let ran = host.run(&id, user, script).await;
        assert_eq!(ran.stdout, format!("out\nmore\npiped\nown\n{name}\n"), "{ran:?}");
        assert_eq!((ran.stderr.as_str(), ran.code), ("err\n", 0), "{ran:?}");
    }
    let others =
        host.run(&id, User::Root, "su user -c 'echo out > /dev/stdout; echo err > /dev/stderr'").await;
    assert_eq!((others.stdout.as_str(), others.stderr.as_str()), ("out\n", "err\n"), "{others:?}");
    // Another user's output is found by nobody.
    support::start(&host.runtime, &id, User::Root, "sleep 1000").await;
    let other = host.run(&id, User::User, "echo x > /proc/$(pgrep -o sleep)/fd/1").await;
    assert!(other.stderr.contains("ermission denied") && other.code != 0, "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_a_valid_id_is_refused_in_words() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let odd = [
        ("minus", "4294967295:0"),
        ("group", "1000:4294967295"),
        ("negative", "-1:0"),
        ("huge", "4294967296:0"),
    ];
    let lines = odd.map(|(name, ids)| format!("{name}:x:{ids}::/tmp:/bin/sh\\n")).concat();
    let script = format!("printf '{lines}' >> /etc/passwd; echo all:x:4294967295:user >> /etc/group");
    assert_eq!(host.run(&id, User::Root, &script).await.code, 0);
    for (name, _) in odd {
        let headers = [("content-type", "application/octet-stream")];
        let path = format!("/files?path=/tmp/of-{name}&username={name}");
        let (status, body) = ask(&host.runtime, &id, "POST", &path, &headers, b"x".to_vec()).await;
        let body = String::from_utf8(body.to_vec()).unwrap();
        let words = format!("the user '{name}' has no valid ");
        assert!(status == 401 && body.contains(&words) && body.contains("/etc/passwd"), "{status} {body}");
    }
    // A group that is none is left out.
    assert_eq!(host.run(&id, User::User, "id -u; id -G | grep -c 4294967295").await.stdout, "1000\n0\n");
    assert_eq!(host.run(&id, User::Root, "ls /tmp/of-* 2>/dev/null | wc -l").await.stdout, "0\n");
}
