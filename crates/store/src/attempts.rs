//! Attempts to deliver webhooks: bulky, and worth less than a fact.

pub(crate) mod rows;
