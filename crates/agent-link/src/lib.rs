//! The server's one HTTP client into a sandbox.
//!
//! ```text
//!   an engine ──► initialise, ask_health ─┐
//!                                         ├─► AgentLink ──► Connection ──► agent of the sandbox
//!   logs ───────► read_logs ──────────────┘
//! ```
//!
//! Every engine gives its agent the same first words, so they are here and not in an engine. Traffic of the sandbox's
//! users does not pass here: the edge carries it.
//!
//! Ownership: the owner of an [`AgentLink`] owns the connection, which ends when it is dropped. It has no task of its
//! own: it is driven while somebody waits for an answer.
//!
//! Failure cases: a sandbox is hostile. Answers are bounded and checked. A paused agent never answers, so callers set
//! the time to wait; after any error the link is of no use any more.

#![warn(clippy::disallowed_methods)]

mod boot_token;
mod health;
mod init;
mod link;
mod logs;

pub use boot_token::draw_boot_token;
pub use health::ask_health;
pub use init::{init_body, initialise};
pub use link::{AgentLink, LinkError};
