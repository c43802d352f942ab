//! The data directory: one server holds it, where it is at home, and one key of it seals webhooks' secrets where none
//! is configured.

#![warn(clippy::disallowed_methods)]

mod held;
mod home;
mod own;
mod place;
pub mod sealing;

pub use held::{DataDir, DataDirError};
pub use home::{HomeError, Recognised, Standing, Told};
pub use place::Difference;
