//! Watching directories for changes.
//!
//! One inotify instance serves all watchers, since the kernel gives a host few of them; it exists while there is
//! anybody to serve. Two watchers of one directory share its watch.
//!
//! ```text
//!  kernel ──► hub: one task reads ──► which directory? ──► which watchers? ──► name relative to each one's root
//!              ▲ adds watches for new directories                                   │ described on the pool, if asked
//!              │                                                                    ▼
//!  CreateWatcher, WatchDir ── enter the tree                       bounded queue ──┬─► WatchDir stream
//!                                                                                  └─► GetWatcherEvents
//! ```
//!
//! Failure cases: a watcher that takes events too slowly, or asks for more directories than are watched at a time,
//! learns that events are lost, once, in their place in the order; a stream ends with that. A directory that is made and
//! filled faster than it can be watched is listed, so that nothing in it is missed. Links are not followed, kernel file
//! systems not entered; what a watch shows is never more than what its directories hold. Watchers nobody asks about
//! for an hour are removed.

mod calls;
mod delivery;
mod failure;
mod hub;
mod inotify;
mod queue;
mod stream;
mod table;
mod tree;
mod views;
mod watcher;

pub(crate) use calls::{create, events, remove, stream};
pub(crate) use table::Watches;
