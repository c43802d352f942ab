//! The Linux runtime is held to the same promises as the fake that other crates are tested with.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use sandscope_model::BuildId;
use sandscope_testbed::check_runtime_contract;
use support::{Host, Random};

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_is_kept() {
    let Some(host) = Host::start().await else { return };
    check_runtime_contract(&host.runtime, BuildId::generate(&Random), || host.spec()).await.unwrap();
}
