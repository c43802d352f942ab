//! The sandscope binary.
fn main() {}
