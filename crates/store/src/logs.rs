//! Logs of sandboxes, and how far what is stored has been exported.

pub(crate) mod bounds;
pub(crate) mod exports;
pub(crate) mod streams;

use std::sync::Arc;

use sandscope_model::Clock;

use crate::logs::bounds::LogBounds;
use crate::sqlite::file::File;

/// Logs of sandboxes, and how far logs and events have been exported. Clones share one file.
#[derive(Debug, Clone)]
pub struct Logs {
    file: Arc<File>,
    clock: Arc<dyn Clock>,
    bounds: LogBounds,
}

impl Logs {
    pub(crate) fn new(file: File, clock: Arc<dyn Clock>, bounds: LogBounds) -> Self {
        Self { file: Arc::new(file), clock, bounds }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}
