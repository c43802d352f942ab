//! What may be said of how a webhook is delivered to: checked here, once for registering and changing.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderName, HeaderValue};
use sandscope_model::{
    KillReason, Retry, Secret, TeamId, TemplateId, Webhook, WebhookFilter, is_reserved_header,
};
use sandscope_wire::webhook_options::{DeliveryOptions, FilterOptions, RetryOptions};

use super::webhook_create::Violations;
use crate::error::ApiError;
use crate::segments::echo;
use crate::{App, pairs};

const MAX_DELAYS: usize = 50;
const MAX_DELAY_S: u32 = 7 * 24 * 3600;
const MAX_HEADERS: usize = 20;
const MAX_HEADER_VALUE: usize = 1024;
const MAX_FILTERS: usize = 50;
const YEAR_S: u32 = 31_536_000;

/// Takes what `given` says over into `webhook`, collecting what is wrong with it.
pub(super) async fn apply(
    app: &App,
    team: TeamId,
    given: DeliveryOptions,
    webhook: &mut Webhook,
    violations: &mut Violations,
) -> Result<(), ApiError> {
    let options = &mut webhook.options;
    options.ordering = given.ordering.unwrap_or(options.ordering);
    options.payload = given.payload.unwrap_or(options.payload);
    if let Some(retry) = given.retry {
        options.retry = violations.retry(&retry).unwrap_or_default();
    }
    let mut number = |name, given: Option<u32>, least, most, kept: &mut Option<u32>| {
        if let Some(value) = given {
            violations.check_number(name, value, least, most);
            *kept = (value > 0).then_some(value);
        }
    };
    number("timeoutSeconds", given.timeout_seconds, 1, 300, &mut options.timeout_s);
    number("maxInFlight", given.max_in_flight, 1, 64, &mut options.max_in_flight);
    number("ratePerSecond", given.rate_per_second, 1, 10_000, &mut options.rate_per_second);
    if let Some(value) = given.disable_after_seconds {
        violations.check_number("disableAfterSeconds", value, 60, YEAR_S);
        options.disable_after_s = Some(value);
    }
    if let Some(filter) = given.filter {
        options.filter = self::filter(app, team, filter, violations).await?;
    }
    if let Some(headers) = given.headers {
        webhook.headers = violations.headers(headers);
    }
    Ok(())
}

async fn filter(
    app: &App,
    team: TeamId,
    given: FilterOptions,
    violations: &mut Violations,
) -> Result<WebhookFilter, ApiError> {
    let too_many = [given.metadata.len(), given.templates.len(), given.reasons.len()];
    if too_many.into_iter().any(|n| n > MAX_FILTERS) {
        violations.push(format!("filter: must have at most {MAX_FILTERS} entries of a kind"));
        return Ok(WebhookFilter::default());
    }
    if let Err(error) = pairs::check("filter.metadata", &given.metadata, pairs::MAX_METADATA_BYTES) {
        violations.push(error.message().to_owned());
    }
    if let Some(reason) = given.reasons.iter().find(|reason| !is_reason(reason)) {
        violations.push(format!("filter.reasons: '{}' is no reason for a sandbox to end", echo(reason)));
    }
    let mut templates = BTreeSet::<TemplateId>::new();
    for reference in given.templates.iter().filter(|reference| reference.len() <= 512) {
        match app.store.facts.resolve_template(team, reference).await? {
            Some((template, _)) => drop(templates.insert(template.id)),
            None => violations.push(format!("filter.templates: '{}' not found", echo(reference))),
        }
    }
    Ok(WebhookFilter { metadata: given.metadata, templates, reasons: given.reasons })
}

fn is_reason(text: &str) -> bool {
    // Reasons serialise under the names the wire has for them, or close to them; both are asked.
    serde_json::from_value::<KillReason>(text.into()).is_ok_and(|reason| reason.as_str() == text)
}

impl Violations {
    fn check_number(&mut self, name: &str, value: u32, least: u32, most: u32) {
        if value != 0 && !(least..=most).contains(&value) {
            self.push(format!("{name}: must be 0, or {least} to {most}"));
        }
    }

    fn retry(&mut self, given: &RetryOptions) -> Option<Retry> {
        let retry = given.to_model();
        match &retry {
            None => self.push("retry.policy: must be server, e2b, standard or custom".to_owned()),
            Some(Retry::Custom(delays)) => {
                let delay_ok = |delay: &u32| (1..=MAX_DELAY_S).contains(delay);
                if delays.len() > MAX_DELAYS || !delays.iter().all(delay_ok) {
                    let most = MAX_DELAY_S;
                    self.push(format!(
                        "retry.delaysSeconds: must be at most {MAX_DELAYS} waits of 1 to {most}"
                    ));
                }
            }
            Some(_) => {}
        }
        retry
    }

    fn headers(&mut self, given: BTreeMap<String, String>) -> BTreeMap<String, Secret> {
        if given.len() > MAX_HEADERS {
            self.push(format!("headers: must be at most {MAX_HEADERS}"));
        }
        let mut headers = BTreeMap::new();
        for (name, value) in given {
            let name = name.to_ascii_lowercase();
            if HeaderName::try_from(&name).is_err() || name.len() > 128 {
                self.push(format!("headers: '{}' is no header name", echo(&name).escape_debug()));
            } else if is_reserved_header(&name) {
                self.push(format!("headers: '{name}' must not be set"));
            } else if HeaderValue::try_from(&value).is_err() || value.len() > MAX_HEADER_VALUE {
                self.push(format!(
                    "headers: the value of '{name}' must be one line of at most {MAX_HEADER_VALUE} bytes"
                ));
            } else {
                headers.insert(name, Secret::new(value));
            }
        }
        headers
    }
}
