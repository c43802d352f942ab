//! What the agent says of its sandbox.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use sandscope_model::SandboxId;
use support::{Host, User, ask, eventually, start};

async fn metrics(host: &Host, id: &SandboxId) -> serde_json::Value {
    let (status, body) = ask(&host.runtime, id, "GET", "/metrics", &[], Vec::new()).await;
    assert_eq!(status, 200);
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandboxs_own_numbers_and_not_the_hosts() {
    let Some(host) = Host::start().await else { return };
    let id = host.create().await;
    let before = metrics(&host, &id).await;
    assert_eq!(before["cpu_count"], 1);
    assert_eq!(before["mem_total"], 128 << 20);
    assert_eq!(before["mem_total_mib"], 128);
    let used = |metrics: &serde_json::Value| metrics["mem_used"].as_u64().unwrap();
    assert!(used(&before) < 30 << 20, "{before}");
    let disk = before["disk_total"].as_u64().unwrap();
    assert!((40 << 20..64 << 20).contains(&disk), "{before}");

    start(&host.runtime, &id, User::User, "exec python3 -c 'x=b\"x\"*(40<<20)\nwhile True: pass'").await;
    eventually("memory in use is seen", async || used(&metrics(&host, &id).await) >= 40 << 20).await;
    eventually("time in use is seen", async || {
        metrics(&host, &id).await["cpu_used_pct"].as_f64().unwrap() > 20.0
    })
    .await;
    host.run(&id, User::User, "head -c 20M /dev/zero > /dev/shm/a").await;
    assert!(used(&metrics(&host, &id).await) >= 60 << 20, "files in memory count");
}
