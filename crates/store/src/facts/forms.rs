//! The stored forms: how values look inside a column of text. They belong to the store alone, so that neither a renamed
//! field of the model nor a new spelling on the wire changes what is on disk.
//!
//! A form is read for ever. It may gain optional fields; whatever else has to change gets a new version
//! ([`event::VERSION`] for the data of events, in a column of its own). Rows from before that column have version 0, which
//! differs from 1 in that every event, of whatever kind, has a sandbox in its columns.

pub(crate) mod event;
mod execution;
pub(crate) mod health;
pub(crate) mod kind;
mod notice;
