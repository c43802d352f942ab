//! The JSON of the public HTTP API and of webhook bodies. Wire spellings live only here.
//!
//! Every type both reads and writes, because servers and clients use the same ones. Keys a client sends that are not
//! listed are ignored, except in rules of alerts; `null` means the same as leaving the key out.

#![warn(clippy::disallowed_methods)]

pub mod alert;
pub mod cursor;
pub mod delivery;
pub mod details;
pub mod error;
pub mod event;
pub mod json;
pub mod key;
pub mod ledger;
pub mod log;
pub mod metadata;
pub mod metrics;
pub mod moment;
pub mod more_metrics;
pub mod name;
pub mod node;
mod object;
pub mod replay;
pub mod request;
pub mod sandbox;
pub mod signature;
pub mod snapshot;
pub mod task;
pub mod template;
pub mod time;
pub mod webhook;
pub mod webhook_options;
