//! Makes, freezes, thaws, checkpoints and kills sandboxes.
//!
//! [`Runtime`] is what the rest of the house sees: it knows no store and emits no events. The Linux implementation
//! lives in the `linux` module; tests use the testbed's fake, which runs the same contract suite.

mod contract;
pub mod linux;

pub use contract::{
    Ailment, Capabilities, ConnectError, Found, FoundState, LaunchSpec, Notice, Runtime, RuntimeError, Stray,
    Survey,
};
