//! The sampler over the real store and a runtime in memory, with the clock stepped by hand.

#![expect(clippy::unwrap_used, reason = "a test may give up")]

mod failing;
mod house;
mod sampling;
