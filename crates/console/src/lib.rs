//! Standard output and standard error of the commands.

#![warn(clippy::disallowed_methods)]

pub mod output;
