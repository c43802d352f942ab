//! Samples of the sandboxes' metrics: rows of the open hour, and the sealed blocks that finished hours become.

mod columns;
pub(crate) mod point;
mod sample_row;
pub(crate) mod sealed;
pub(crate) mod series;
mod varint;

#[cfg(test)]
mod old_block_tests;
