//! The agent as a process of its own, spoken to over HTTP as clients do.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod borders;
mod broken_off;
mod calls;
mod client;
mod compose;
mod encodings;
mod files;
mod links;
mod logs;
mod made_up;
mod presentation;
mod start_up;
mod streams;
mod watch;
