//! The ids in paths. Something that is no id at all cannot exist: 404, except where the contract says 400.

use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use http::StatusCode;
use http::request::Parts;
use sandscope_model::{ApiKeyId, MalformedId, SandboxId, TeamId, WebhookId};

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;

/// Longest part of a client's text that is repeated in an answer.
const MAX_ECHO: usize = 128;

/// The first variable part of the path, percent-decoded.
async fn first(parts: &mut Parts, app: &App) -> Result<String, ApiError> {
    nth(parts, app, 0).await
}

async fn nth(parts: &mut Parts, app: &App, n: usize) -> Result<String, ApiError> {
    let malformed = || ApiError::bad_request("the path is not valid UTF-8");
    let params = RawPathParams::from_request_parts(parts, app).await.map_err(|_| malformed())?;
    let (_, text) = params.iter().nth(n).ok_or_else(malformed)?;
    Ok(text.to_owned())
}

/// A text cut to what may be repeated in an answer.
pub(crate) fn echo(text: &str) -> String {
    text.chars().take(MAX_ECHO).collect()
}

/// `{sandboxID}`.
#[derive(Debug)]
pub(crate) struct SandboxPath(pub(crate) SandboxId);

impl FromRequestParts<App> for SandboxPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let text = first(parts, app).await?;
        // Clients of the first generation add the client's id after a dash.
        let (id, client) = text.split_once('-').unwrap_or((&text, ""));
        let is_id =
            !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !is_id || client.contains('-') {
            return Err(ApiError::bad_request("Invalid sandbox ID"));
        }
        text.parse().map(Self).map_err(|_| ApiError::no_such_sandbox(&echo(&text)))
    }
}

/// `{sandboxID}` of a history: whatever it is, `None` if no sandbox can have it.
#[derive(Debug)]
pub(crate) struct HistoryPath(pub(crate) Option<SandboxId>);

impl FromRequestParts<App> for HistoryPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Ok(Self(first(parts, app).await?.parse().ok()))
    }
}

/// `{templateID}` or `{alias}`: an id or a name, perhaps with namespace and tag.
#[derive(Debug)]
pub(crate) struct TemplatePath(pub(crate) String);

impl FromRequestParts<App> for TemplatePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let text = first(parts, app).await?;
        if text.len() > 512 { Err(ApiError::no_such_template(&echo(&text))) } else { Ok(Self(text)) }
    }
}

/// `{apiKeyID}`.
#[derive(Debug)]
pub(crate) struct ApiKeyPath(pub(crate) ApiKeyId);

impl FromRequestParts<App> for ApiKeyPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let text = first(parts, app).await?;
        text.parse().map(Self).map_err(|_| ApiError::bad_request("Invalid API key ID"))
    }
}

/// `{ruleID}` of an alert: the id of a team's own, or the name of one of the operator's.
#[derive(Debug)]
pub(crate) struct RulePath(pub(crate) String);

impl FromRequestParts<App> for RulePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        first(parts, app).await.map(Self)
    }
}

/// `{nodeID}`.
#[derive(Debug)]
pub(crate) struct NodePath(pub(crate) String);

impl FromRequestParts<App> for NodePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        first(parts, app).await.map(Self)
    }
}

/// `{webhookID}`.
#[derive(Debug)]
pub(crate) struct WebhookPath(pub(crate) WebhookId);

impl FromRequestParts<App> for WebhookPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let text = first(parts, app).await?;
        text.parse().map(Self).map_err(|_| ApiError::bad_request("Invalid webhook ID"))
    }
}

/// `{webhookID}` and the id of something that belongs to it.
#[derive(Debug)]
pub(crate) struct WebhookPartPath<T> {
    pub(crate) webhook: WebhookId,
    pub(crate) part: T,
}

impl<T: FromStr<Err = MalformedId> + Send> FromRequestParts<App> for WebhookPartPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let WebhookPath(webhook) = WebhookPath::from_request_parts(parts, app).await?;
        let text = nth(parts, app, 1).await?;
        let part = text
            .parse()
            .map_err(|error: MalformedId| ApiError::bad_request(format!("Invalid {}", error.kind)))?;
        Ok(Self { webhook, part })
    }
}

/// `{teamID}`.
#[derive(Debug)]
pub(crate) struct TeamPath(pub(crate) NamedTeam);

/// The team a path names, whether or not it is the caller's.
#[derive(Debug)]
pub(crate) struct NamedTeam(Option<TeamId>);

impl NamedTeam {
    /// Refuses a caller that asks for another team.
    pub(crate) fn check(&self, caller: &Caller) -> Result<(), ApiError> {
        if self.0 == Some(caller.team.id) {
            return Ok(());
        }
        Err(ApiError::new(StatusCode::FORBIDDEN, "You are not authorized to access this team's metrics"))
    }
}

impl FromRequestParts<App> for TeamPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Ok(Self(NamedTeam(first(parts, app).await?.parse().ok())))
    }
}
