//! What makes sandboxes, as the rest of the server sees it: three narrow doors that every engine implements.
//!
//! ```text
//!   lifecycle ───► Engine    create, pause, resume, capture, kill, check, recover, survey, remove
//!   sampler ─────► Readings  the counters of all sandboxes in one call; details and processes of one
//!   edge, logs ──► Dial      a byte stream to a port inside a sandbox
//! ```
//!
//! Ownership: an engine owns its sandboxes' processes, memory and files. It knows no store and records no events.
//! Failure cases: each operation may be repeated after a failure; what an engine cannot do at all it answers with
//! [`EngineError::Unsupported`], and changes nothing. Every engine, and the testbed's fake, passes the testbed's
//! contract suite.

#![warn(clippy::disallowed_methods)]

mod connection;
mod dial;
mod disk;
mod engine;
mod error;
mod launch;
mod notice;
mod profile;
mod readings;
mod stray;
mod survey;

pub use connection::{Connection, Duplex};
pub use dial::{Dial, DialFailure};
pub use disk::DiskStanding;
pub use engine::Engine;
pub use error::EngineError;
pub use launch::LaunchSpec;
pub use notice::{Ailment, Notice};
pub use profile::{Capabilities, EngineProfile, Isolation, Lack};
pub use readings::{Depth, ReadError, Reading, Readings, Wanted};
pub use stray::Stray;
pub use survey::{Found, FoundState, Survey};
