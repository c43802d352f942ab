//! House rules by machine.
fn main() {}
