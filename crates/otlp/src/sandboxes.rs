use std::fmt;
use std::sync::Arc;

use sandscope_model::Sandbox;

/// Where the sandboxes that live are asked for.
#[derive(Clone)]
pub struct Sandboxes(Arc<dyn Fn() -> Vec<Arc<Sandbox>> + Send + Sync>);

impl Sandboxes {
    /// `ask` answers with all of them, and at once.
    pub fn new(ask: impl Fn() -> Vec<Arc<Sandbox>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    pub(crate) fn all(&self) -> Vec<Arc<Sandbox>> {
        (self.0)()
    }
}

impl fmt::Debug for Sandboxes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sandboxes")
    }
}
