//! The data directory: one server holds it, and one key of it seals webhooks' secrets where none is configured.

#![warn(clippy::disallowed_methods)]

mod held;
pub mod sealing;

pub use held::{DataDir, DataDirError};
