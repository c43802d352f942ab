//! The embedded store: the only crate that knows SQL.
