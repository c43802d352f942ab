//! Attempts to deliver webhooks: bulky, and worth less than a fact.

pub(crate) mod rows;

use std::sync::Arc;

use crate::sqlite::file::File;

/// Attempts to deliver webhooks. Clones share one file.
#[derive(Debug, Clone)]
pub struct Attempts {
    file: Arc<File>,
}

impl Attempts {
    pub(crate) fn new(file: File) -> Self {
        Self { file: Arc::new(file) }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}
