//! The engine of namespaces: makes, freezes, thaws, checkpoints and kills sandboxes that share the host's kernel.
//!
//! [`linux::NamespacesEngine`] implements the three traits of `sandscope-engine`; the rest of the server holds those.

pub mod linux;
