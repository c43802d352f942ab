//! Samples of a whole hour as a few bytes, and back.
//!
//! ```text
//!   Point (a sample, or a span) ──► Spans (30 s, 300 s) ──► encode_samples, encode_spans ──► bytes
//!                                                           Block::each ◄─────────────────────┘
//! ```
//!
//! [`Point`]s are joined field by field of the model's catalogue, and each field is written as a column of numbers.
//! What an earlier version wrote can be read for ever, and what a later one added is passed over.
//!
//! Ownership: none; nothing here performs I/O or knows a database.
//!
//! Failure: bytes that are no block are `None`, whatever they are; the caller knows where they came from.

#![warn(clippy::disallowed_methods)]

mod columns;
mod point;
pub mod varint;

pub use point::{Aggregate, Block, Point, SECOND, Spans, encode_samples, encode_spans, sample};
