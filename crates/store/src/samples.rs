//! Samples of the sandboxes' metrics: rows of the open hour, and the sealed blocks that finished hours become.

mod retention;
mod sample_row;
pub(crate) mod sealed;
pub(crate) mod series;

#[cfg(test)]
mod old_block_tests;

use std::sync::Arc;

use crate::sqlite::file::File;

/// Samples of sandboxes' metrics. Clones share one file.
#[derive(Debug, Clone)]
pub struct Samples {
    file: Arc<File>,
}

impl Samples {
    pub(crate) fn new(file: File) -> Self {
        Self { file: Arc::new(file) }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}
