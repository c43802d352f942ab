//! A launcher without a server around it, for the tests of this crate.

fn main() {
    sandscope_runtime::linux::launcher_main(std::env::args_os().nth(1).as_deref());
}
