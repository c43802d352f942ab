//! Every way to die, on real sandboxes under the real server: each is distinguished from every other.
//!
//! The promise is "within a second". Machines that build and test are slower than that, so the time each took is
//! printed and only a generous bound is insisted on.

#![expect(clippy::print_stdout, reason = "the times are for the reader of the output")]

#[path = "../server/mod.rs"]
mod server;

mod causes;
mod house;
mod restart;
mod tampering;
