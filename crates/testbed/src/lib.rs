//! The whole system in process, for tests: fake runtime with real semantics, steppable clock, webhook receiver with faults.
