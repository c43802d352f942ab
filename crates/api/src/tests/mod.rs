//! The door itself: real router, real store, real lifecycle, a runtime in memory.

mod contract;
mod coverage;
mod door;
mod histories;
mod ledger;
mod logs;
mod origins;
mod recorded;
mod refusals;
mod streams;
mod webhooks;
