//! `POST /events/webhooks/{id}/secret`: another secret, with a time in which both count.

use std::time::Duration;

use crate::json::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandscope_model::{RetiredSecret, Secret};
use sandscope_wire::replay::{ChangedSecret, NewSecret};

use super::webhook_create::Violations;
use super::webhook_get::OwnWebhook;
use super::webhook_update::{MAX_TRIES, TOO_MANY, replace};
use crate::body::{RawBody, parse};
use crate::error::ApiError;
use crate::{App, paths};

const MALFORMED: &str = "Invalid webhook secret request";
const OVERLAPPING: &str = "the secret before the present one counts until";
const BAD_OVERLAP: &str = "overlapSeconds must be at most 2592000";
const DEFAULT_OVERLAP_S: u32 = 24 * 3600;
const MAX_OVERLAP_S: u32 = 30 * 24 * 3600;
const DRAWN_BYTES: usize = 32;

/// Gives a webhook another secret. Until the overlap is over deliveries are signed with both.
#[utoipa::path(
    post,
    path = paths::WEBHOOK_SECRET,
    tag = "webhooks",
    params(("webhookID" = uuid::Uuid, Path)),
    request_body = NewSecret,
    responses((status = 200, description = "It holds from now on", body = ChangedSecret))
)]
pub(crate) async fn change_webhook_secret(
    State(app): State<App>,
    OwnWebhook(mut webhook): OwnWebhook,
    RawBody(body): RawBody,
) -> Result<Json<ChangedSecret>, ApiError> {
    // The usual words of a parser could repeat the secret.
    let new: NewSecret = match body.trim_ascii() {
        b"" => NewSecret::default(),
        object => parse(object).map_err(|_| ApiError::bad_request(MALFORMED))?,
    };
    let overlap_s = new.overlap_seconds.unwrap_or(DEFAULT_OVERLAP_S);
    if overlap_s > MAX_OVERLAP_S {
        return Err(ApiError::bad_request(BAD_OVERLAP));
    }
    let (secret, drawn) = match new.signature_secret {
        Some(secret) => {
            let mut violations = Violations::default();
            violations.check_secret(&secret);
            violations.into_result()?;
            (secret, None)
        }
        None => {
            let mut bytes = [0; DRAWN_BYTES];
            app.entropy.fill(&mut bytes);
            let secret = format!("whsec_{}", STANDARD.encode(bytes));
            (secret.clone(), Some(secret))
        }
    };
    let now = app.clock.now();
    let until = now.checked_add(Duration::from_secs(overlap_s.into())).unwrap_or(now);
    for _ in 0..MAX_TRIES {
        // The one before was promised to count until then, and there is room for two.
        if let Some(previous) = webhook.previous_secret.as_ref().filter(|one| one.until > now && until > now)
        {
            let until = previous.until;
            return Err(ApiError::conflict(format!(
                "{OVERLAPPING} {until}; overlapSeconds 0 ends that at once"
            )));
        }
        let mut changed = webhook.clone();
        let old = std::mem::replace(&mut changed.signature_secret, Secret::new(secret.clone()));
        changed.previous_secret = (until > now).then_some(RetiredSecret { secret: old, until });
        match replace(&app, webhook, &changed).await? {
            None => return Ok(Json(ChangedSecret { signature_secret: drawn, previous_valid_until: until })),
            Some(current) => webhook = current,
        }
    }
    Err(ApiError::conflict(TOO_MANY))
}
