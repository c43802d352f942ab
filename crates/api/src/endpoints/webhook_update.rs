//! `PATCH /events/webhooks/{id}`: changes what is given of a webhook.

use crate::json::Json;
use axum::extract::State;
use sandscope_model::{Secret, Webhook};
use sandscope_store::Replaced;
use sandscope_wire::webhook::{WebhookConfiguration, WebhookDetail};

use super::webhook_create::{Violations, malformed};
use super::webhook_get::{NOT_FOUND, OwnWebhook};
use super::webhook_options;
use crate::body::{RawBody, parse};
use crate::error::ApiError;
use crate::{App, paths};

const MALFORMED: &str = "Invalid webhook update request";
pub(super) const TOO_MANY: &str = "the webhook is being changed by others all the time; try again";
/// How often a change is made anew.
pub(super) const MAX_TRIES: u32 = 50;

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
    let change: WebhookConfiguration = parse(&body).map_err(|error| malformed(MALFORMED, &error))?;
    for _ in 0..MAX_TRIES {
        let mut changed = webhook.clone();
        take_over(&app, change.clone(), &mut changed).await?;
        match replace(&app, webhook, &changed).await? {
            None => return Ok(Json(WebhookDetail::from(&changed))),
            Some(current) => webhook = current,
        }
    }
    Err(ApiError::conflict(TOO_MANY))
}

/// Stores `changed`, which was made of `webhook`. If somebody else was faster, nothing is stored, and the webhook as it
/// is now comes back: the change has to be made of that.
pub(super) async fn replace(
    app: &App,
    webhook: Webhook,
    changed: &Webhook,
) -> Result<Option<Webhook>, ApiError> {
    match app.store.deliveries.replace_webhook(webhook, changed.clone()).await? {
        Replaced::Done => Ok(None),
        Replaced::Changed(current) => Ok(Some(*current)),
        Replaced::Gone => Err(ApiError::not_found(NOT_FOUND)),
    }
}

async fn take_over(app: &App, change: WebhookConfiguration, webhook: &mut Webhook) -> Result<(), ApiError> {
    let mut violations = Violations::default();
    if let Some(name) = change.name {
        violations.check_name(&name);
        webhook.name = name;
    }
    if let Some(url) = change.url {
        webhook.url = violations.url(&url, &app.webhook_url_check);
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
    webhook_options::apply(app, webhook.team_id, change.delivery, webhook, &mut violations).await?;
    violations.into_result()
}
