use std::path::PathBuf;

use super::queue::Queue;

/// One tree, or one directory, that somebody watches.
pub(super) struct Watcher {
    pub(super) root: PathBuf,
    pub(super) recursive: bool,
    pub(super) include_entry: bool,
    pub(super) allow_network: bool,
    pub(super) queue: Queue,
}
