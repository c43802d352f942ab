//! The mechanism beneath every group: how a file of SQLite is opened, migrated, written and read, and what stands in its
//! cells. It knows no group: what is stored, and what a statement says, is theirs.
//!
//! ```text
//!   facts, samples, logs, attempts          the operations, each on its own file
//!        │
//!        ▼
//!   File ──► Writer   one thread, group commit ─► what is published after a commit (`feed`)
//!        ├─► Readers  a few threads, snapshots
//!        └─► Schema   steps that bring the file up to date
//! ```

mod codes;
pub mod fault;
pub(crate) mod file;
pub(crate) mod migrations;
mod readers;
pub(crate) mod reserve;
pub(crate) mod row;
pub(crate) mod threads;
pub(crate) mod writer;
pub(crate) mod writes;

#[cfg(test)]
mod migration_tests;
