//! How long sandboxes take to be made and ended, one after the other and sixteen at once.
//!
//! `cargo bench -p sandscope-engine-namespaces` as root. Figures are printed, never asserted.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a measurement prints, and may stop at the unexpected"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sandscope_engine::{Engine as _, Readings as _};
use support::Host;

const N: usize = 64;

fn main() {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(measure());
}

async fn measure() {
    let Some(host) = Host::start().await else { return };
    let host = Arc::new(host);
    host.create().await;
    for in_flight in [1, 16] {
        let started = Instant::now();
        let (mut creates, mut kills) = (Vec::new(), Vec::new());
        for _ in 0..N / in_flight {
            let round: Vec<_> = (0..in_flight).map(|_| tokio::spawn(one(Arc::clone(&host)))).collect();
            for made in round {
                let (create, kill) = made.await.unwrap();
                creates.push(create);
                kills.push(kill);
            }
        }
        println!("{N} sandboxes, {in_flight} at once: {:.2?} in all", started.elapsed());
        print("create", &mut creates);
        print("kill", &mut kills);
    }
    let pid = support::init_pid(host.state.dir.path(), &host.runtime.running()[0]);
    println!("memory of an idle sandbox's agent:\n{}", memory(pid));
    let shim = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let parent = shim.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    println!("and of its shim:\n{}", memory(parent));
}

async fn one(host: Arc<Host>) -> (Duration, Duration) {
    let started = Instant::now();
    let id = host.create().await;
    let create = started.elapsed();
    let started = Instant::now();
    host.runtime.kill(&id).await.unwrap();
    (create, started.elapsed())
}

fn print(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("  {what:7} min {:.2?}  p50 {:.2?}  p99 {:.2?}", at(0), at(50), at(99));
}

fn memory(pid: i32) -> String {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let wanted = |line: &&str| ["Rss", "Pss:", "Private_Dirty"].iter().any(|field| line.starts_with(field));
    rollup.lines().filter(wanted).map(|line| format!("  {line}\n")).collect()
}
