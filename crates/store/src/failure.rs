//! What is known of a failure beside its kind: what was being done, to which file, and the cause.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// What was being done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It was opened, made or brought up to date.
    Opening,
    /// A reading operation ran.
    Reading,
    /// A writing operation ran, or its transaction was committed.
    Writing,
}

impl Doing {
    const fn words(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Reading => "reading",
            Self::Writing => "writing",
        }
    }
}

/// A cause, with the place where it is known. Clones share the cause: one may end a whole group of operations.
#[derive(Debug, Clone)]
pub struct Failure {
    at: Option<(Doing, &'static str)>,
    cause: Arc<dyn Error + Send + Sync>,
}

impl Failure {
    /// A failure of which only the cause is known as yet.
    pub(crate) fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { at: None, cause: Arc::from(cause.into()) }
    }

    /// The same with the place, unless that is known already: who is nearest knows best.
    pub(crate) fn at(self, doing: Doing, file: &'static str) -> Self {
        Self { at: self.at.or(Some((doing, file))), ..self }
    }

    /// What was being done, and to which file of the data directory (`facts.sqlite`), or to the directory itself.
    pub const fn place(&self) -> Option<(Doing, &'static str)> {
        self.at
    }
}

/// Equal where they say the same: causes themselves cannot be compared.
impl PartialEq for Failure {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at && self.cause.to_string() == other.cause.to_string()
    }
}

impl Eq for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((doing, file)) = self.at {
            write!(f, "{} {file}: ", doing.words())?;
        }
        write!(f, "{}", self.cause)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}
