//! Typed client of the public API and of the agent protocol.
