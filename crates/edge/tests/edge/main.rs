//! Through the edge's door.

#![expect(clippy::unwrap_used, reason = "a test may stop at anything unexpected")]

mod routing;
mod signed;
mod streams;
mod world;
