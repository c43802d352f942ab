//! Our own logs.
