//! Makes, freezes, thaws, checkpoints and kills sandboxes.
