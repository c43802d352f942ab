//! Users inside: made by the usual tools, refused where they have no valid id, and owners of what they print to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use support::{Host, User};

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
