//! Webhooks of the real server, with real receivers: under `kill -9`, replayed, operated by API and command line.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may stop at the unexpected and says what it saw"
)]

#[path = "../server/mod.rs"]
mod server;

mod commands;
mod crash;
mod dice;
mod fill;
mod judge;
mod load;
mod operations;
mod receiver;
mod reload;
mod replay;
