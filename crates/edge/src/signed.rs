//! File URLs that name no sandbox: the signature says which, as it is made with that sandbox's access token.
//!
//! The signature is over path, operation, user, token and time limit, so the token must be tried: one short hash for
//! each sandbox that lives, whatever the length of the path (see [`Signed`]), all on memory, compared in a time that
//! does not reveal how much was right. With 1,000 sandboxes that is well below a millisecond. It is work that anybody
//! may ask for, so at most [`SEARCHES`] go on at once; others wait their turn, [`WAIT`] at most, and no search keeps
//! its thread for longer than [`STRIDE`] hashes. What has expired by its own words is refused before any search. Under
//! a host name or with the routing headers nothing is searched: the agent alone checks.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::request::Parts;
use sandscope_agent_protocol::AGENT_PORT;
use sandscope_agent_protocol::file_query::FileQuery;
use sandscope_agent_protocol::signature::{self, Operation, Signed};
use sandscope_model::{Clock, Sandbox};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

use crate::Target;
use crate::answer::Answer;

/// Searches at once.
const SEARCHES: usize = 2;

/// How long one waits for its turn.
const WAIT: Duration = Duration::from_secs(5);

/// Sandboxes tried in one go.
const STRIDE: usize = 256;

/// What a URL claims, ready to be held against a token.
#[derive(Debug)]
pub(crate) struct Claim {
    signed: Signed,
    digest: [u8; 32],
}

impl Claim {
    /// Reads the claim of a request for `/files`; refuses what no token could make right.
    pub(crate) fn read(method: &Method, query: &str, clock: &dyn Clock) -> Result<Self, Answer> {
        let operation = match *method {
            Method::GET | Method::HEAD => Operation::Read,
            Method::POST => Operation::Write,
            _ => return Err(Answer::wrong_method()),
        };
        let query = FileQuery::parse(query);
        let Some(given) = &query.signature else {
            return Err(Answer::bad_signature("missing signature query parameter"));
        };
        let expires_at = match &query.signature_expiration {
            Some(text) => Some(
                text.parse::<i64>()
                    .map_err(|_| Answer::malformed("signature_expiration must be a unix time in seconds"))?,
            ),
            None => None,
        };
        if expires_at.is_some_and(|expires_at| expires_at < clock.now().as_second()) {
            return Err(Answer::bad_signature("signature is already expired"));
        }
        let digest = signature::parse(given).ok_or_else(wrong)?;
        let path = query.path.as_deref().unwrap_or_default();
        let user = query.username.as_deref().unwrap_or_default();
        Ok(Self { signed: Signed::new(path, operation, user, expires_at), digest })
    }

    /// Whether it was signed with the access token of `sandbox`.
    pub(crate) fn holds_for(&self, sandbox: &Sandbox) -> bool {
        let token = sandbox.spec.envd_access_token.as_ref();
        token.is_some_and(|token| self.signed.digest(token.expose()).ct_eq(&self.digest).into())
    }
}

fn wrong() -> Answer {
    Answer::bad_signature("invalid signature")
}

/// Finds sandboxes by signatures.
#[derive(Debug)]
pub(crate) struct Finder {
    turns: Semaphore,
}

impl Finder {
    pub(crate) const fn new() -> Self {
        Self { turns: Semaphore::const_new(SEARCHES) }
    }

    /// The agent of the sandbox that the request's signature was made for.
    pub(crate) async fn find(
        &self,
        parts: &Parts,
        clock: &dyn Clock,
        sandboxes: impl FnOnce() -> Vec<Arc<Sandbox>>,
    ) -> Result<Target, Answer> {
        let claim = Claim::read(&parts.method, parts.uri.query().unwrap_or_default(), clock)?;
        let turn = tokio::time::timeout(WAIT, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(Answer::busy()) };
        for some in sandboxes().chunks(STRIDE) {
            if let Some(sandbox) = some.iter().find(|sandbox| claim.holds_for(sandbox)) {
                return Ok(Target { id: sandbox.id.clone(), port: AGENT_PORT });
            }
            tokio::task::yield_now().await;
        }
        Err(wrong())
    }
}
