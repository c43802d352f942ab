//! `sandscope webhook`: everything the API can do with webhooks, and listening without a public address.

mod listen;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandscope_client::Client;
use sandscope_model::{Clock as _, Entropy as _, EventType, Timestamp, when};
use serde_json::{Map, Value, json};

use super::events::full_name;
use crate::arguments::{CreateWebhookArgs, Format, FormatArgs, UpdateWebhookArgs, WebhookCommand};
use sandscope_console::output::{self, Paint, printable};
use sandscope_system::{OsEntropy, SystemClock};

const POLL: Duration = Duration::from_millis(500);

/// Runs one of them.
pub(crate) async fn run(command: WebhookCommand) -> anyhow::Result<ExitCode> {
    match command {
        WebhookCommand::List { format, server } => {
            let webhooks = super::client(server)?.webhooks_with_status().await?;
            print(format, &webhooks, |all| list(all, SystemClock.now(), Paint::for_stdout()))?;
        }
        WebhookCommand::Info { id, format, server } => {
            show(format, &super::client(server)?.webhook(&id).await?)?;
        }
        WebhookCommand::Create(arguments) => create(*arguments).await?,
        WebhookCommand::Update(arguments) => update(*arguments).await?,
        WebhookCommand::Stats { id, format, server } => {
            show(format, &super::client(server)?.webhook_stats(&id).await?)?;
        }
        WebhookCommand::Delete { id, server } => super::client(server)?.delete_webhook(&id).await?,
        WebhookCommand::Test { id, format, server } => {
            let attempt = super::client(server)?.test_webhook(&id).await?;
            print(format, std::slice::from_ref(&attempt), attempts)?;
            if attempt["status"] != "success" {
                return Ok(ExitCode::FAILURE);
            }
        }
        WebhookCommand::Deliveries { id, delivery: Some(delivery), format, server, .. } => {
            show(format, &super::client(server)?.attempt(&id, &delivery).await?)?;
        }
        WebhookCommand::Deliveries { id, delivery: None, failed, limit, format, server } => {
            let page = super::client(server)?.attempts(&id, failed, limit).await?;
            let groups = page["data"].as_array().map(Vec::as_slice).unwrap_or_default();
            let mut all: Vec<Value> =
                groups.iter().filter_map(|group| group["attempts"].as_array()).flatten().cloned().collect();
            // They come by event; times in RFC 3339 sort as texts.
            all.sort_by(|one, other| other["timestamp"].as_str().cmp(&one["timestamp"].as_str()));
            print(format, &all, attempts)?;
        }
        WebhookCommand::DeadLetters { id, format, server } => {
            print(format, &dead_letters(&super::client(server)?, &id).await?, dead)?;
        }
        WebhookCommand::Resend { id, delivery, format, server } => {
            let client = super::client(server)?;
            let replay = client.resend(&id, &delivery).await?;
            return wait(&client, &id, replay, format).await;
        }
        WebhookCommand::Replay { id, all, since, until, rate, detach, format, server } => {
            let client = super::client(server)?;
            let select = if all { "all" } else { "failed" };
            let body = json!({ "select": select, "since": since, "until": until, "ratePerSecond": rate });
            let replay = client.start_replay(&id, &body).await?;
            if !detach {
                return wait(&client, &id, replay, format).await;
            }
            print(format, &[replay], |all| all.iter().map(|replay| text(&replay["id"])).collect())?;
        }
        WebhookCommand::Replays { id, format, server } => {
            let replays = super::client(server)?.replays(&id).await?;
            for replay in replays.as_array().into_iter().flatten() {
                print(format, std::slice::from_ref(replay), progress)?;
            }
        }
        WebhookCommand::CancelReplay { id, replay, format, server } => {
            print(format, &[super::client(server)?.cancel_replay(&id, &replay).await?], progress)?;
        }
        WebhookCommand::RotateSecret { id, overlap, format, server } => {
            let changed = super::client(server)?.rotate_secret(&id, overlap).await?;
            if format.get() == Format::Json {
                output::line(&changed)?;
                return Ok(ExitCode::SUCCESS);
            }
            output::line(text(&changed["signatureSecret"]))?;
            output::note(format_args!(
                "the old secret is valid until {}",
                time(&changed["previousValidUntil"])
            ));
        }
        WebhookCommand::Listen { forward_to, types, sandbox, secret, format, server } => {
            let types = types.iter().map(|name| full_name(name)).collect();
            let secret = secret.unwrap_or_else(draw_secret);
            let client = super::client(server)?;
            return listen::run(&client, &forward_to, types, sandbox.as_deref(), secret, format.get()).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One JSON value per line, or what `pretty` makes of all of them.
fn print(format: FormatArgs, all: &[Value], pretty: impl Fn(&[Value]) -> String) -> anyhow::Result<()> {
    match format.get() {
        Format::Json => all.iter().try_for_each(output::line)?,
        Format::Pretty => output::line(pretty(all))?,
    }
    Ok(())
}

/// The webhooks, with how deliveries to each have been going.
fn list(webhooks: &[Value], now: Timestamp, paint: Paint) -> String {
    let row = |webhook: &Value| {
        let status = &webhook["status"];
        let age = |value: &Value| match value.as_str().map(str::parse) {
            Some(Ok(at)) => when::with_age(at, now),
            _ => "-".to_owned(),
        };
        let n_types = webhook["events"].as_array().map_or(0, Vec::len);
        vec![
            text(&webhook["id"]),
            text(&webhook["name"]),
            state(webhook).to_owned(),
            text(&status["behind"]),
            text(&status["pending"]),
            age(&status["failingSince"]),
            age(&status["lastSuccessAt"]),
            n_types.to_string(),
            text(&webhook["url"]),
        ]
    };
    let rows: Vec<_> = webhooks.iter().map(row).collect();
    let head = ["ID", "NAME", "STATE", "BEHIND", "PENDING", "FAILING SINCE", "LAST SUCCESS", "TYPES", "URL"];
    output::table(&head, &rows, paint)
}

/// A webhook that is enabled and whose attempts fail is not well.
fn state(webhook: &Value) -> &'static str {
    let status = &webhook["status"];
    match (
        webhook["enabled"].as_bool(),
        status["disabledReason"].is_string(),
        status["failingSince"].is_string(),
    ) {
        (Some(false), true, _) => "disabled by the server",
        (Some(false), false, _) => "disabled",
        (_, _, true) => "failing",
        _ => "enabled",
    }
}

async fn create(arguments: CreateWebhookArgs) -> anyhow::Result<()> {
    let CreateWebhookArgs { url, name, events, secret, options, format, server } = arguments;
    let events: Vec<String> = if events.is_empty() {
        EventType::listed().map(|kind| kind.as_str().to_owned()).collect()
    } else {
        events.iter().map(|name| full_name(name)).collect()
    };
    let drawn = secret.is_none();
    let secret = secret.unwrap_or_else(draw_secret);
    let mut body = parsed(options)?;
    for (key, value) in [
        ("name", json!(name)),
        ("url", json!(url)),
        ("events", json!(events)),
        ("signatureSecret", json!(secret)),
    ] {
        body.insert(key.to_owned(), value);
    }
    let webhook = super::client(server)?.register_webhook(&Value::Object(body)).await?;
    print(format, &[webhook], |all| all.iter().map(|webhook| text(&webhook["id"])).collect())?;
    if drawn {
        output::note(format_args!("secret: {secret}"));
    }
    Ok(())
}

async fn update(arguments: UpdateWebhookArgs) -> anyhow::Result<()> {
    let UpdateWebhookArgs { id, url, name, events, enable, disable, options, format, server } = arguments;
    let mut body = parsed(options)?;
    let events: Vec<String> = events.iter().map(|name| full_name(name)).collect();
    let given = [
        ("url", url.map(|url| json!(url))),
        ("name", name.map(|name| json!(name))),
        ("events", (!events.is_empty()).then(|| json!(events))),
        ("enabled", (enable || disable).then(|| json!(enable))),
    ];
    body.extend(given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    anyhow::ensure!(!body.is_empty(), "nothing to change is given");
    show(format, &super::client(server)?.update_webhook(&id, &Value::Object(body)).await?)
}

/// Options as the API takes them.
fn parsed(options: Vec<(String, String)>) -> anyhow::Result<Map<String, Value>> {
    let parse = |(key, value): (String, String)| {
        let value =
            serde_json::from_str(&value).with_context(|| format!("option {key} is no JSON: {value}"))?;
        Ok((key, value))
    };
    options.into_iter().map(parse).collect()
}

/// In the form that verify libraries take.
fn draw_secret() -> String {
    format!("whsec_{}", STANDARD.encode(OsEntropy.bytes::<32>()))
}

async fn dead_letters(client: &Client, id: &str) -> anyhow::Result<Vec<Value>> {
    let (mut letters, mut cursor) = (Vec::new(), None);
    loop {
        let mut page = client.dead_letters(id, cursor.as_deref()).await?;
        if let Value::Array(data) = page["data"].take() {
            letters.extend(data);
        }
        cursor = page["nextCursor"].as_str().map(ToOwned::to_owned);
        if cursor.is_none() {
            return Ok(letters);
        }
    }
}

fn dead(letters: &[Value]) -> String {
    let row = |letter: &Value| {
        let [kind, sandbox, attempts, event] =
            ["eventType", "sandboxId", "attempts", "eventId"].map(|key| text(&letter[key]));
        vec![time(&letter["timestamp"]), kind, sandbox, attempts, event]
    };
    let rows: Vec<_> = letters.iter().map(row).collect();
    let head = ["TIME", "EVENT", "SANDBOX", "ATTEMPTS", "EVENT ID"];
    output::table(&head, &rows, Paint::for_stdout())
}

/// Shows a replay's progress until it is over.
async fn wait(client: &Client, id: &str, mut replay: Value, format: FormatArgs) -> anyhow::Result<ExitCode> {
    let replay_id = text(&replay["id"]);
    while replay["state"] == "running" {
        tokio::time::sleep(POLL).await;
        replay = client.replay(id, &replay_id).await?;
    }
    print(format, std::slice::from_ref(&replay), progress)?;
    let failed = replay["failed"].as_u64().unwrap_or(0);
    Ok(if replay["state"] == "done" && failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn progress(replays: &[Value]) -> String {
    let line = |replay: &Value| {
        let [id, state, looked_at, total, selected, delivered, failed] =
            ["id", "state", "lookedAt", "total", "selected", "delivered", "failed"]
                .map(|key| text(&replay[key]));
        format!(
            "{id}  {state}: looked at {looked_at} of {total} events, selected {selected}, delivered {delivered}, failed {failed}"
        )
    };
    replays.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn attempts(all: &[Value]) -> String {
    let row = |attempt: &Value| {
        let keys = ["eventType", "status", "responseHttpStatusCode", "durationMs", "errorMessage", "id"];
        let mut row = vec![time(&attempt["timestamp"])];
        row.extend(keys.map(|key| text(&attempt[key])));
        row
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    let head = ["TIME", "EVENT", "STATUS", "HTTP", "MS", "ERROR", "DELIVERY"];
    output::table(&head, &rows, Paint::for_stdout())
}

/// Without `--json` indented, for people.
fn show(format: FormatArgs, value: &Value) -> anyhow::Result<()> {
    match format.get() {
        Format::Json => output::line(value)?,
        Format::Pretty => output::line(serde_json::to_string_pretty(value)?)?,
    }
    Ok(())
}

/// A time as a person reads it.
fn time(value: &Value) -> String {
    value.as_str().and_then(|text| text.parse().ok()).map_or_else(|| text(value), when::second)
}

/// A value as a person reads it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_how_far_and_how_well() {
        let replay = json!({
            "id": "r", "state": "running", "lookedAt": 5, "total": 9, "selected": 4, "delivered": 3, "failed": 1
        });
        let expected = "r  running: looked at 5 of 9 events, selected 4, delivered 3, failed 1";
        assert_eq!(progress(&[replay]), expected);
        assert!(draw_secret().starts_with("whsec_"));
        assert_ne!(draw_secret(), draw_secret());
    }

    #[test]
    fn the_list_says_which_webhook_is_not_well() {
        let webhook = |name: &str, enabled: bool, status: Value| json!({"id": "w", "name": name, "enabled": enabled, "events": ["a"], "url": "http://x", "status": status});
        let failing = json!({"behind": 7, "pending": 2, "failingSince": "2026-01-31T11:00:00Z", "disabledReason": null});
        let disabled =
            json!({"behind": 0, "failingSince": "2026-01-31T11:00:00Z", "disabledReason": "410 Gone"});
        let well = json!({"behind": 0, "failingSince": null, "lastSuccessAt": "2026-01-31T11:59:50Z"});
        let all = [
            webhook("well", true, well),
            webhook("ill", true, failing),
            webhook("gone", false, disabled),
            webhook("off", false, json!({"behind": 0})),
        ];
        let list = list(&all, "2026-01-31T12:00:00Z".parse().unwrap(), Paint::none());
        insta::assert_snapshot!(list, @"
        ID  NAME  STATE                   BEHIND  PENDING  FAILING SINCE                  LAST SUCCESS                    TYPES  URL
        w   well  enabled                 0                -                              2026-01-31 11:59:50Z (10s ago)  1      http://x
        w   ill   failing                 7       2        2026-01-31 11:00:00Z (1h ago)  -                               1      http://x
        w   gone  disabled by the server  0                2026-01-31 11:00:00Z (1h ago)  -                               1      http://x
        w   off   disabled                0                -                              -                               1      http://x
        ");
    }
}
