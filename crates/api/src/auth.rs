//! Who asks: an API key in `X-API-Key`, or as a bearer token.
//!
//! Only the SHA-256 of the whole key text is known; it is looked up by an index, so that how long an answer takes
//! says nothing about how much of a guessed key was right.
//!
//! Whoever asks is also who the events name: the key's handle and name, the request's id and the address it came from.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::FromRequestParts;
use http::Extensions;
use http::header::AUTHORIZATION;
use http::request::Parts;
use sandscope_lives::Lives;
use sandscope_model::{Actor, Origin, Secret, Team, keys};
use sandscope_store::Known;
use tower_http::request_id::RequestId;

use crate::App;
use crate::error::ApiError;

const HEADER: &str = "x-api-key";
const PREFIX: &str = "e2b_";

const MISSING: &str = "authorization header is missing";
const MALFORMED: &str = "authorization header is malformed";
const BAD_FORMAT: &str = "Invalid API key: a key is e2b_ and 40 hexadecimal digits. Set E2B_API_KEY to a key of this \
                          server; `sandscope key create` on its host makes one";
const UNKNOWN: &str = "Invalid API key: this server knows no such key, or it was deleted. Set E2B_API_KEY to a key of \
                       this server; `sandscope key create` on its host makes one";

/// Longest part of a request's id that events repeat.
const MAX_REQUEST_ID: usize = 128;

/// Where a request came from: the server of the router sets this extension of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteAddress(pub IpAddr);

/// Whether a request carried a key that is one: the server of the router sets this extension of the request, to know
/// whom it keeps room for.
#[derive(Debug, Clone, Default)]
pub struct KeyShown(Arc<AtomicBool>);

impl KeyShown {
    /// The key is right.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Says so to whoever asked for it with the request.
    pub fn set_in(extensions: &Extensions) {
        if let Some(shown) = extensions.get::<Self>() {
            shown.set();
        }
    }
}

/// The team whose key a request carries. An endpoint that takes one refuses everybody else.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The team.
    pub(crate) team: Team,
    /// The key presented.
    pub(crate) key: Secret,
    /// Who events say it was.
    origin: Origin,
}

impl Caller {
    /// Whether the key still is one: for answers that go on for long.
    pub(crate) async fn is_still_known(&self, app: &App) -> bool {
        // A store that cannot be read says nothing about the key.
        !app.store.facts.authenticate(keys::hash(self.key.expose())).await.is_ok_and(|found| found.is_none())
    }

    /// The lives of sandboxes, for this caller to change.
    pub(crate) fn lives(&self, app: &App) -> Arc<dyn Lives> {
        app.lives.on_behalf_of(self.origin.clone())
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let key = presented(parts)?;
        let digits = key.strip_prefix(PREFIX).ok_or_else(|| ApiError::unauthorized(MALFORMED))?;
        if digits.is_empty() || digits.len() > 128 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ApiError::unauthorized(BAD_FORMAT));
        }
        let found = app.store.facts.authenticate(keys::hash(key)).await?;
        let known = found.ok_or_else(|| ApiError::unauthorized(UNKNOWN))?;
        app.store.facts.touch_api_key(known.key_id, app.clock.now());
        KeyShown::set_in(&parts.extensions);
        // Here, behind the key, so that it holds for every endpoint.
        if let Some(why) = app.parameters.refusal(&parts.method, &parts.uri, &parts.extensions) {
            return Err(ApiError::bad_request(why));
        }
        let origin = origin(parts, &known);
        let team = known.team;
        Ok(Self { team, key: Secret::new(key.to_owned()), origin })
    }
}

fn origin(parts: &Parts, known: &Known) -> Origin {
    let id = parts.extensions.get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
    Origin {
        actor: Actor::ApiKey { id: known.key_id, name: Some(known.key_name.as_str().into()) },
        request_id: id.map(|id| id.chars().take(MAX_REQUEST_ID).collect::<String>().into()),
        remote_address: parts.extensions.get::<RemoteAddress>().map(|RemoteAddress(address)| *address),
    }
}

/// The key as the request carries it.
fn presented(parts: &Parts) -> Result<&str, ApiError> {
    if let Some(value) = parts.headers.get(HEADER) {
        return value.to_str().map(str::trim).map_err(|_| ApiError::unauthorized(MALFORMED));
    }
    let value = parts.headers.get(AUTHORIZATION).ok_or_else(|| ApiError::unauthorized(MISSING))?;
    let (scheme, token) =
        value.to_str().ok().and_then(|text| text.trim().split_once(' ')).unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(token.trim())
    } else {
        Err(ApiError::unauthorized(MALFORMED))
    }
}
