//! `POST /events/webhooks`: registers a webhook.

use std::collections::BTreeMap;

use crate::json::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use sandscope_model::{EventType, EventTypes, Secret, Webhook, WebhookId, WebhookOptions};
use sandscope_outbound::{UrlError, normal_web_url};
use sandscope_wire::webhook::{WebhookCreate, WebhookDetail};

use super::webhook_options;
use crate::auth::Caller;
use crate::body::{PARSING, RawBody, parse};
use crate::error::ApiError;
use crate::segments::echo;
use crate::{App, WebhookUrlCheck, paths};

const MALFORMED: &str = "Invalid webhook creation request";
const LIMIT_REACHED: &str = "Webhook limit reached";
const BAD_NAME: &str = "name: must be 1 to 256 characters long";
const BAD_URL: &str = "url: must be a valid http or https URL";
const NO_EVENTS: &str = "events: must specify at least one event type";
const BAD_EVENT: &str = "events: must be known event types";
const BAD_SECRET: &str = "signatureSecret: must be 1 to 1024 characters long";

const BAD_ENCODED_SECRET: &str = "signatureSecret: what follows whsec_ must be base64";

/// The contract's words, and the beginning of the parser's where they name a field or a choice that there is not.
/// Others could repeat a secret.
pub(super) fn malformed(words: &str, error: &ApiError) -> ApiError {
    let reason = error.message().strip_prefix(PARSING).unwrap_or_default();
    if reason.starts_with("unknown field") || reason.starts_with("unknown variant") {
        ApiError::bad_request(format!("{words}: {}", echo(reason)))
    } else {
        ApiError::bad_request(words)
    }
}

/// Registers a webhook: events committed from now on are sent to it.
#[utoipa::path(
    post,
    path = paths::WEBHOOKS,
    tag = "webhooks",
    request_body = WebhookCreate,
    responses((status = 201, description = "The webhook", body = WebhookDetail))
)]
pub(crate) async fn create_webhook(
    State(app): State<App>,
    caller: Caller,
    RawBody(body): RawBody,
) -> Result<(StatusCode, Json<WebhookDetail>), ApiError> {
    // The usual words of a parser could repeat the secret.
    let new: WebhookCreate = parse(&body).map_err(|error| malformed(MALFORMED, &error))?;
    let webhook = build(&app, &caller, new, WebhookId::generate(&*app.entropy)).await?;
    let detail = WebhookDetail::from(&webhook);
    if app.store.deliveries.insert_webhook(webhook, caller.team.limits.max_webhooks).await? {
        Ok((StatusCode::CREATED, Json(detail)))
    } else {
        Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, LIMIT_REACHED).permanent())
    }
}

/// The webhook that `new` describes, if nothing is wrong with it.
pub(super) async fn build(
    app: &App,
    caller: &Caller,
    new: WebhookCreate,
    id: WebhookId,
) -> Result<Webhook, ApiError> {
    let mut violations = Violations::default();
    violations.check_name(&new.name);
    let url = violations.url(&new.url, &app.webhook_url_check);
    let events = violations.events(&new.events);
    violations.check_secret(&new.signature_secret);
    let mut webhook = Webhook {
        id,
        team_id: caller.team.id,
        name: new.name,
        url,
        events,
        enabled: new.enabled.unwrap_or(true),
        signature_secret: Secret::new(new.signature_secret),
        previous_secret: None,
        headers: BTreeMap::new(),
        options: WebhookOptions::default(),
        created_at: app.clock.now(),
    };
    webhook_options::apply(app, caller.team.id, new.delivery, &mut webhook, &mut violations).await?;
    violations.into_result()?;
    Ok(webhook)
}

/// Everything wrong with a registration: reported at once, joined by `; `.
#[derive(Debug, Default)]
pub(super) struct Violations(Vec<String>);

impl Violations {
    pub(super) fn check_name(&mut self, name: &str) {
        if !(1..=256).contains(&name.chars().count()) {
            self.0.push(BAD_NAME.to_owned());
        }
    }

    /// The URL as it is kept.
    pub(super) fn url(&mut self, given: &str, check: &WebhookUrlCheck) -> String {
        match normal_web_url(given) {
            Ok(url) => {
                if let Err(reason) = check(&url) {
                    self.0.push(format!("url: {reason}"));
                }
                url
            }
            Err(UrlError::Malformed) => {
                self.0.push(BAD_URL.to_owned());
                String::new()
            }
            Err(reason) => {
                self.0.push(format!("url: {reason}"));
                String::new()
            }
        }
    }

    pub(super) fn events(&mut self, names: &[String]) -> EventTypes {
        let events: EventTypes = names.iter().filter_map(|name| name.parse().ok()).collect();
        if names.is_empty() {
            self.0.push(NO_EVENTS.to_owned());
        } else if names.iter().any(|name| name.parse::<EventType>().is_err()) {
            self.0.push(format!("{BAD_EVENT}: {}", EventType::ALL.map(EventType::as_str).join(", ")));
        }
        events
    }

    pub(super) fn check_secret(&mut self, secret: &str) {
        if !(1..=1024).contains(&secret.chars().count()) {
            self.0.push(BAD_SECRET.to_owned());
        }
        let encoded = secret.strip_prefix("whsec_");
        if encoded.is_some_and(|encoded| encoded.is_empty() || STANDARD.decode(encoded).is_err()) {
            self.0.push(BAD_ENCODED_SECRET.to_owned());
        }
    }

    pub(super) fn push(&mut self, violation: String) {
        self.0.push(violation);
    }

    pub(super) fn into_result(self) -> Result<(), ApiError> {
        if self.0.is_empty() { Ok(()) } else { Err(ApiError::bad_request(self.0.join("; "))) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sandscope_outbound::{EgressGuard, GuardError};

    use super::*;

    fn guarded() -> WebhookUrlCheck {
        let guard = EgressGuard::new(Vec::new());
        std::sync::Arc::new(move |url| guard.check_url(url).map(drop).map_err(|error| error.to_string()))
    }

    #[test]
    fn only_absolute_http_urls_pass() {
        for (url, refused) in [
            ("http://a", None),
            ("https://example.com/x?y=z", None),
            ("", Some(BAD_URL)),
            ("ftp://a", Some(BAD_URL)),
            ("http:///x", Some(BAD_URL)),
            ("http://a b", Some("url: must not contain spaces, control characters or backslashes")),
            ("http://user@example.com", Some("url: must not contain a user name or password")),
            ("http://127.0.0.1:9/h", Some("url: the target address is not allowed")),
            ("http://a:25", Some("url: the target port is not allowed")),
        ] {
            let mut violations = Violations::default();
            violations.url(url, &guarded());
            assert_eq!(violations.0.first().map(String::as_str), refused, "{url}");
        }
        let mut violations = Violations::default();
        violations.url(&format!("http://a/{}", "a".repeat(2_048)), &guarded());
        assert_eq!(violations.0, ["url: must be at most 2048 bytes long"]);
    }

    proptest! {
        #[test]
        fn what_passes_as_a_url_is_never_refused_for_its_syntax_later(
            url in "(https?|HTTP|ftp)?(://|:|//)[a-z0-9.:@\\[\\]-]{0,16}[/?#]?\\PC{0,8}"
        ) {
            let guard = EgressGuard::new(Vec::new());
            let mut violations = Violations::default();
            let passes: WebhookUrlCheck = std::sync::Arc::new(|_| Ok(()));
            violations.url(&url, &passes);
            let url = url.trim();
            let for_its_syntax = matches!(guard.check_url(url), Err(GuardError::Url(_)));
            prop_assert_eq!(!violations.0.is_empty(), for_its_syntax, "{}", url);
        }
    }

    #[test]
    fn all_violations_are_told_at_once() {
        let mut violations = Violations::default();
        let refuse: WebhookUrlCheck = std::sync::Arc::new(|_| Err("loopback is not allowed".to_owned()));
        violations.url("http://127.0.0.1", &refuse);
        violations.events(&[]);
        let response = violations.into_result().unwrap_err();
        let text = format!("{response:?}");
        assert!(text.contains("url: loopback is not allowed; events: must specify at least one event type"));
    }
}
