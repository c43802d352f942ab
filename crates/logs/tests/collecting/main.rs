//! The collector over a runtime whose agents are this test.

#![expect(clippy::unwrap_used, reason = "a test may stop at anything unexpected")]

#[path = "failing.rs"]
mod failing;
#[path = "following.rs"]
mod following;
#[path = "world.rs"]
mod world;
