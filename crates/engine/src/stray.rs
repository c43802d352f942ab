use std::fmt;

use sandscope_model::SandboxId;

/// Something left behind on the host. Only the engine that found it knows what it refers to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stray {
    /// The engine that found it.
    pub engine: &'static str,
    /// What it is, in the engine's words: the beginning of a sentence.
    pub kind: &'static str,
    /// Which of its kind.
    pub name: String,
    /// The sandbox it is a trace of, where the engine can say.
    pub sandbox: Option<SandboxId>,
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}
