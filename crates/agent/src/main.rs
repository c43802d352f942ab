//! What runs inside a sandbox as PID 1.
fn main() {}
