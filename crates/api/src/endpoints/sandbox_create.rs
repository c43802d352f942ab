//! `POST /sandboxes` and `POST /v2/sandboxes`: makes a sandbox.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::json::Json;
use axum::extract::State;
use http::uri::Authority;
use http::{HeaderMap, StatusCode};
use sandscope_lives::{CreateRequest, IdempotencyKey};
use sandscope_model::{NetworkConfig, OnTimeout, WebhookId};
use sandscope_wire::request::NewSandbox;
use sandscope_wire::sandbox::Sandbox;
use sha2::{Digest, Sha256};

use super::webhook_create;
use crate::auth::Caller;
use crate::body::{RawBody, parse};
use crate::error::ApiError;
use crate::sdk::is_before_tokens;
use crate::segments::echo;
use crate::{App, pairs, paths};

const TIMEOUT_NOT_POSITIVE: &str = "Timeout must be greater than 0";
const BAD_IDEMPOTENCY_KEY: &str =
    "Idempotency-Key must be 1 to 255 characters long and consist of a-z, 0-9 and -";
const TRAFFIC_NEEDS_SECURE: &str = "network.allowPublicTraffic: false requires secure: true";
const BAD_ENV_VAR: &str = "envVars: a name must not be empty or contain '=', and nothing may contain NUL";

const MAX_RULES: usize = 256;
const TOO_MANY_RULES: &str = "network.denyOut: must be at most 256";

const MAX_WEBHOOKS: usize = 5;
const TOO_MANY_WEBHOOKS: &str = "webhooks: must be at most 5";
const WEBHOOK_NAME: &str = "of a sandbox";

/// The two generations of the operation differ in their defaults, and the first can be told to leave out the token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Generation {
    V1,
    V2,
}

impl Generation {
    const fn default_timeout_s(self) -> i64 {
        match self {
            Self::V1 => 15,
            Self::V2 => 300,
        }
    }
}

/// Makes a sandbox (first generation: 15 seconds to live, and its agent asks for a token unless `secure` is false).
#[utoipa::path(
    post,
    path = paths::SANDBOXES,
    tag = "sandboxes",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[a-z0-9-]+$",
            description = "A repeated request with the same key and body answers the same sandbox, for 24 hours")),
    request_body = NewSandbox,
    responses((status = 201, description = "It runs", body = Sandbox))
)]
pub(crate) async fn create_sandbox(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<(StatusCode, Json<Sandbox>), ApiError> {
    create(&app, &caller, &headers, &body, Generation::V1).await
}

/// Makes a sandbox: 300 seconds to live unless asked otherwise, and its agent asks for a token.
#[utoipa::path(
    post,
    path = paths::SANDBOXES_V2,
    tag = "sandboxes",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[a-z0-9-]+$",
            description = "A repeated request with the same key and body answers the same sandbox, for 24 hours")),
    request_body = NewSandbox,
    responses((status = 201, description = "It runs", body = Sandbox))
)]
pub(crate) async fn create_sandbox_v2(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<(StatusCode, Json<Sandbox>), ApiError> {
    create(&app, &caller, &headers, &body, Generation::V2).await
}

async fn create(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    body: &[u8],
    generation: Generation,
) -> Result<(StatusCode, Json<Sandbox>), ApiError> {
    let mut new: NewSandbox = parse(body)?;
    let mut webhooks = Vec::new();
    if new.webhooks.len() > MAX_WEBHOOKS {
        return Err(ApiError::bad_request(TOO_MANY_WEBHOOKS));
    }
    for mut webhook in std::mem::take(&mut new.webhooks) {
        if webhook.name.is_empty() {
            webhook.name = WEBHOOK_NAME.to_owned();
        }
        webhooks.push(webhook_create::build(app, caller, webhook, WebhookId::generate(&*app.entropy)).await?);
    }
    let request = CreateRequest {
        idempotency: idempotency(headers, body, generation)?,
        ..request(new, generation, headers)?
    };
    let created = caller.lives(app).create(&caller.team, request).await?;
    if !webhooks.is_empty() {
        let id = &created.sandbox.id;
        for webhook in &mut webhooks {
            webhook.options.sandbox_id = Some(id.clone());
        }
        app.store.deliveries.insert_sandbox_webhooks(id.clone(), webhooks).await?;
    }
    let answer = Sandbox::new(&created.sandbox, app.lives.envd_version(), app.domain.as_deref());
    Ok((StatusCode::CREATED, Json(answer)))
}

fn request(new: NewSandbox, generation: Generation, headers: &HeaderMap) -> Result<CreateRequest, ApiError> {
    if let Some(option) = new.unsupported() {
        return Err(ApiError::not_implemented(&format!("option '{option}'")));
    }
    if new.template_id.len() > 512 {
        return Err(ApiError::no_such_template(&echo(&new.template_id)));
    }
    let timeout_s = new.timeout.unwrap_or(generation.default_timeout_s());
    let timeout_s = u64::try_from(timeout_s).ok().filter(|s| *s > 0);
    let timeout_s = timeout_s.ok_or_else(|| ApiError::bad_request(TIMEOUT_NOT_POSITIVE))?;
    // Without a token the id alone opens the agent: only who says so, or could not say otherwise, gets that.
    let secure = generation == Generation::V2 || new.secure.unwrap_or_else(|| !is_before_tokens(headers));
    let network = new.network.map(|network| NetworkConfig {
        allow_public_traffic: network.allow_public_traffic,
        allow_out: network.allow_out.unwrap_or_default(),
        deny_out: network.deny_out.unwrap_or_default(),
        mask_request_host: network.mask_request_host.filter(|mask| !mask.is_empty()),
    });
    if !secure && network.as_ref().is_some_and(|network| network.allow_public_traffic == Some(false)) {
        return Err(ApiError::bad_request(TRAFFIC_NEEDS_SECURE));
    }
    if network.as_ref().is_some_and(|network| network.deny_out.len() > MAX_RULES) {
        return Err(ApiError::bad_request(TOO_MANY_RULES));
    }
    let denied = network.iter().flat_map(|network| &network.deny_out);
    if let Some(bad) = denied.into_iter().find(|text| !is_network(text)) {
        let message = format!("network.denyOut: '{}' is not an IP address or CIDR", echo(bad));
        return Err(ApiError::bad_request(message));
    }
    let mask = network.as_ref().and_then(|network| network.mask_request_host.as_deref());
    if let Some(bad) = mask.filter(|mask| !is_mask(mask)) {
        let message = format!("network.maskRequestHost: '{}' is not a host, or host:${{PORT}}", echo(bad));
        return Err(ApiError::bad_request(message));
    }
    let env_vars = new.env_vars.unwrap_or_default();
    if !are_env_vars(&env_vars) {
        return Err(ApiError::bad_request(BAD_ENV_VAR));
    }
    pairs::check("envVars", &env_vars, pairs::MAX_ENV_BYTES)?;
    let metadata = new.metadata.unwrap_or_default();
    pairs::check("metadata", &metadata, pairs::MAX_METADATA_BYTES)?;
    Ok(CreateRequest {
        template: new.template_id,
        timeout: Duration::from_secs(timeout_s),
        metadata,
        env_vars,
        secure,
        on_timeout: if new.auto_pause == Some(true) { OnTimeout::Pause } else { OnTimeout::Kill },
        auto_resume: new.auto_resume.is_some_and(|auto_resume| auto_resume.enabled),
        allow_internet_access: new.allow_internet_access,
        network,
        idempotency: None,
    })
}

fn is_network(text: &str) -> bool {
    let (address, length) =
        text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    address.parse::<IpAddr>().is_ok_and(|address| {
        let max = if address.is_ipv4() { 32 } else { 128 };
        length.is_none_or(|length| length.parse::<u8>().is_ok_and(|length| length <= max))
    })
}

/// Whether it is a host with or without a port once the port is filled in, and nothing else.
fn is_mask(mask: &str) -> bool {
    let filled = mask.replace("${PORT}", "65535");
    let is_host = |authority: Authority| !authority.host().is_empty() && !authority.as_str().contains('@');
    filled.len() <= 512 && filled.parse().is_ok_and(is_host)
}

fn are_env_vars(env_vars: &BTreeMap<String, String>) -> bool {
    env_vars
        .iter()
        .all(|(name, value)| !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0'))
}

/// The same key with another body is a mistake, so the body's hash goes with the key. The same body means different
/// things to the two generations.
fn idempotency(
    headers: &HeaderMap,
    body: &[u8],
    generation: Generation,
) -> Result<Option<IdempotencyKey>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let is_key_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let key = value
        .to_str()
        .ok()
        .filter(|key| (1..=255).contains(&key.len()) && key.bytes().all(is_key_byte))
        .ok_or_else(|| ApiError::bad_request(BAD_IDEMPOTENCY_KEY))?;
    let hash = Sha256::new().chain_update([generation as u8]).chain_update(body);
    Ok(Some(IdempotencyKey { key: key.to_owned(), request_hash: hash.finalize().into() }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(mut body: serde_json::Value, generation: Generation) -> Result<CreateRequest, ApiError> {
        body["templateID"] = json!("base");
        request(serde_json::from_value(body).unwrap(), generation, &HeaderMap::new())
    }

    #[test]
    fn the_generations_differ_in_time_and_token() {
        let v1 = read(json!({}), Generation::V1).unwrap();
        assert_eq!((v1.timeout.as_secs(), v1.secure), (15, true));
        assert!(!read(json!({"secure": false}), Generation::V1).unwrap().secure);
        let v2 = read(json!({"secure": false}), Generation::V2).unwrap();
        assert_eq!((v2.timeout.as_secs(), v2.secure), (300, true));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            json!({"timeout": 0}),
            json!({"timeout": -1}),
            json!({"secure": false, "network": {"allowPublicTraffic": false}}),
            json!({"network": {"denyOut": ["nowhere"]}}),
            json!({"network": {"denyOut": ["10.0.0.0/33"]}}),
            json!({"network": {"maskRequestHost": "a b"}}),
            json!({"network": {"maskRequestHost": "user@host"}}),
            json!({"network": {"maskRequestHost": "host/path"}}),
            json!({"network": {"maskRequestHost": "host:${PORTS}"}}),
            json!({"network": {"maskRequestHost": "x".repeat(513)}}),
            json!({"envVars": {"": "x"}}),
            json!({"envVars": {"A=B": "x"}}),
            json!({"envVars": {"A": "\0"}}),
            json!({"metadata": {"k": "x".repeat(16 * 1024)}}),
            json!({"metadata": (0..129).map(|n| (n.to_string(), "")).collect::<BTreeMap<_, _>>()}),
            json!({"envVars": {"K": "x".repeat(128 * 1024)}}),
            json!({"network": {"denyOut": vec!["10.0.0.0/8"; 257]}}),
        ] {
            assert!(read(bad.clone(), Generation::V1).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_host_to_show_inside_is_kept_as_given() {
        for mask in
            ["localhost:${PORT}", "${PORT}.example.org", "example.org:80", "[::1]:${PORT}", "127.0.0.1"]
        {
            let network = json!({"network": {"maskRequestHost": mask}});
            let kept = read(network, Generation::V2).unwrap().network.unwrap().mask_request_host;
            assert_eq!(kept.as_deref(), Some(mask));
        }
        let none = read(json!({"network": {"maskRequestHost": ""}}), Generation::V2).unwrap();
        assert_eq!(none.network.unwrap().mask_request_host, None);
    }

    #[test]
    fn idempotency_keys_have_a_form() {
        let with = |key: &str| {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static("idempotency-key"),
                http::HeaderValue::from_str(key).unwrap(),
            )]);
            idempotency(&headers, b"{}", Generation::V2)
        };
        assert!(with("abc-1").unwrap().is_some());
        assert!(idempotency(&HeaderMap::new(), b"{}", Generation::V2).unwrap().is_none());
        for bad in ["", "A", "a b", &"a".repeat(256)] {
            assert!(with(bad).is_err(), "{bad}");
        }
    }
}
