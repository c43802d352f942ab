//! The data plane: traffic into sandboxes.
