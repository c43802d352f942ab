//! Logs of sandboxes, and how far what is stored has been exported.

pub(crate) mod bounds;
pub(crate) mod exports;
pub(crate) mod streams;
