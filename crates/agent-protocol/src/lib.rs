//! The envd protocol, as spoken between clients, the server and the agent inside a sandbox.
//!
//! Two kinds of traffic share one port: Connect remote procedure calls with the JSON codec
//! (`/process.Process/…`, `/filesystem.Filesystem/…`) and plain HTTP (`/health`, `/init`, `/files`, …).
//! This crate holds what both ends must agree on: framing, messages, error codes, REST shapes and the
//! signatures of file URLs; and every parser of what strangers send, so that all of them can be fuzzed (module
//! `fuzz`, behind the feature of that name, which only tests and `fuzz/` turn on).
//! It performs no I/O.

#![warn(clippy::disallowed_methods)]

mod blob;
pub mod connect;
pub mod content;
pub mod file_query;
pub mod filesystem;
pub mod frame;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod logs;
pub mod multipart;
pub mod paths;
pub mod presentation;
pub mod process;
mod proto_json;
pub mod rest;
pub mod signature;

pub use blob::Blob;
pub use connect::{Code, ConnectError};
pub use frame::{Frame, FrameDecoder, FrameError};

/// What the agent reports as its version; clients decide by it which calls they may make.
pub const ENVD_VERSION: &str = "0.6.4";

/// The port the agent listens on inside a sandbox.
pub const AGENT_PORT: u16 = 49983;
