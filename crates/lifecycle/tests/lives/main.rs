//! Whole lives of sandboxes: a real store, a runtime in memory, a clock stepped by hand.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, also in its helpers"
)]

#[path = "clocks.rs"]
mod clocks;
#[path = "crashes.rs"]
mod crashes;
#[path = "deaths.rs"]
mod deaths;
#[path = "far.rs"]
mod far;
#[path = "faults.rs"]
mod faults;
#[path = "histories.rs"]
mod histories;
#[path = "nodes.rs"]
mod nodes;
#[path = "origins.rs"]
mod origins;
#[path = "panics.rs"]
mod panics;
#[path = "reconciling.rs"]
mod reconciling;
#[path = "requests.rs"]
mod requests;
#[path = "restarts.rs"]
mod restarts;
#[path = "times.rs"]
mod times;
#[path = "upkeep.rs"]
mod upkeep;
#[path = "world.rs"]
mod world;
