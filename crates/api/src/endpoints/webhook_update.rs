//! `PATCH /events/webhooks/{id}`: changes what is given of a webhook.

use axum::Json;
use axum::extract::State;
use sandscope_model::Secret;
use sandscope_wire::webhook::{WebhookConfiguration, WebhookDetail};

use super::webhook_create::Violations;
use super::webhook_get::{NOT_FOUND, OwnWebhook};
use super::webhook_options;
use crate::body::{RawBody, parse};
use crate::error::ApiError;
use crate::{App, paths};

const MALFORMED: &str = "Invalid webhook update request";

/// Changes what is given of a webhook; everything else stays, the secret too.
#[utoipa::path(
    patch,
    path = paths::WEBHOOK,
    tag = "webhooks",
    params(("webhookID" = uuid::Uuid, Path)),
    request_body = WebhookConfiguration,
    responses((status = 200, description = "The webhook as it is now", body = WebhookDetail))
)]
pub(crate) async fn update_webhook(
    State(app): State<App>,
    OwnWebhook(mut webhook): OwnWebhook,
    RawBody(body): RawBody,
) -> Result<Json<WebhookDetail>, ApiError> {
    let change: WebhookConfiguration = parse(&body).map_err(|_| ApiError::bad_request(MALFORMED))?;
    let mut violations = Violations::default();
    if let Some(name) = change.name {
        violations.check_name(&name);
        webhook.name = name;
    }
    if let Some(url) = change.url {
        violations.check_url(&url, &app.webhook_url_check);
        webhook.url = url;
    }
    if let Some(names) = change.events {
        webhook.events = violations.events(&names);
    }
    if let Some(enabled) = change.enabled {
        webhook.enabled = enabled;
    }
    if let Some(secret) = change.signature_secret {
        violations.check_secret(&secret);
        webhook.signature_secret = Secret::new(secret);
        // Changed at once: with an overlap it is done under `/secret`.
        webhook.previous_secret = None;
    }
    webhook_options::apply(&app, webhook.team_id, change.delivery, &mut webhook, &mut violations).await?;
    violations.into_result()?;
    let detail = WebhookDetail::from(&webhook);
    if app.store.update_webhook(webhook).await? {
        Ok(Json(detail))
    } else {
        Err(ApiError::not_found(NOT_FOUND))
    }
}
