//! Counters to samples to the store; retention.
