//! What is durable before the answer: teams, keys, templates, sandboxes, the log of events, webhooks with their cursors,
//! alerts. A change of a sandbox and its event are one transaction.

pub(crate) mod activity;
pub(crate) mod activity_blocks;
pub(crate) mod admission;
pub(crate) mod alert_rules;
pub(crate) mod alerts;
pub(crate) mod commit;
pub(crate) mod deliveries;
pub(crate) mod event_pages;
pub(crate) mod events;
mod forms;
pub(crate) mod handles;
pub(crate) mod home;
pub(crate) mod keys;
pub(crate) mod ledger;
mod nodes;
pub(crate) mod replays;
pub(crate) mod retention;
pub(crate) mod sandboxes;
pub(crate) mod seal;
pub(crate) mod snapshots;
pub(crate) mod tail;
pub(crate) mod teams;
pub(crate) mod templates;
pub(crate) mod touched;
pub(crate) mod webhooks;
