//! The door itself: real router, real store, real lifecycle, an engine in memory.

mod alerts;
mod bounds;
mod contract;
mod coverage;
mod details;
mod door;
mod histories;
mod ledger;
mod live_metrics;
mod logs;
mod nodes;
mod origins;
mod recorded;
mod refusals;
mod stored_times;
mod streams;
mod webhooks;
