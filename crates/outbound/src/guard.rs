//! The egress guard: strangers name the addresses we connect to, and this decides which of them may be dialled.
//!
//! ```text
//! URL ──check_url──▶ scheme, no userinfo, host ──▶ literal address ──▶ permitted? ──┐
//!                                              └─▶ name ─▶ resolve ─▶ ALL permitted? ├─▶ dial exactly a checked
//!                                                                                    │   address
//!                                                                    refused ◀──────┘
//! ```
//!
//! A name is resolved once per connection and only an address of that very answer is dialled, so a name that
//! answers differently a moment later (rebinding) gains nothing; an answer with a single forbidden address is
//! refused whole. The errors say that a target is not allowed and never what it resolved to.
//!
//! The rules can be replaced at any time. What is dialled from then on goes by the new ones, and so does what is kept
//! open: a connection carries its [`Clearance`], which is looked at again before it is used.
//!
//! Resolving blocks a thread, which the deadline of an attempt cannot end: every [`Dialer`] therefore resolves one
//! name at a time, and all of them together a bounded number, counted until the thread is really free again.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Semaphore;
use url::Url;

use crate::allowed::AllowedTarget;
use crate::resolver::{Resolve, SystemResolver};
use crate::rules::{EgressRules, GuardError};

/// Names resolved at once, over all dialers of a guard.
const MAX_LOOKUPS: usize = 64;

/// Decides which targets may be dialled, and dials them. Clones share the same rules and limits.
#[derive(Clone)]
pub struct EgressGuard {
    rules: Arc<RwLock<Arc<EgressRules>>>,
    pub(crate) resolver: Arc<dyn Resolve>,
    /// What all dialers of this guard may look up at once.
    pub(crate) lookups: Arc<Semaphore>,
}

impl std::fmt::Debug for EgressGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EgressGuard").field("rules", &self.rules()).finish_non_exhaustive()
    }
}

impl EgressGuard {
    /// A guard that permits the public internet but for the usual denied ports, and `allow`.
    pub fn new(allow: Vec<AllowedTarget>) -> Self {
        Self::with_rules(EgressRules { allow, ..EgressRules::default() })
    }

    /// A guard that permits the public internet as far as `rules` say.
    pub fn with_rules(rules: EgressRules) -> Self {
        Self::with_resolver(rules, SystemResolver)
    }

    /// The same, where `resolver` looks names up.
    pub fn with_resolver(rules: EgressRules, resolver: impl Resolve) -> Self {
        let lookups = Arc::new(Semaphore::new(MAX_LOOKUPS));
        let rules = Arc::new(RwLock::new(Arc::new(rules)));
        Self { rules, resolver: Arc::new(resolver), lookups }
    }

    /// Goes by `rules` from now on, for this guard and its clones.
    pub fn replace_rules(&self, rules: EgressRules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// The rules in force.
    pub(crate) fn rules(&self) -> Arc<EgressRules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Parses `text` and refuses what can be refused by looking at it: use it when a URL is registered. Names are not
    /// resolved here; that is done at every connection.
    ///
    /// # Errors
    /// [`GuardError`], in words for the URL's owner.
    pub fn check_url(&self, text: &str) -> Result<Url, GuardError> {
        self.rules().check_url(text)
    }
}

#[cfg(test)]
#[path = "guard_packet_tests.rs"]
mod packet_tests;
#[cfg(test)]
#[path = "guard_tests.rs"]
pub(crate) mod tests;
