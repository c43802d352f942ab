//! `sandscope webhook`: everything the API can do with webhooks, and listening without a public address.

mod listen;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandscope_client::Client;
use sandscope_model::{Entropy as _, EventType};
use serde_json::{Map, Value, json};

use super::events::full_name;
use crate::arguments::{CreateWebhookArgs, UpdateWebhookArgs, WebhookCommand};
use sandscope_console::output::{self, Paint};
use sandscope_system::OsEntropy;

const POLL: Duration = Duration::from_millis(500);

/// Runs one of them.
pub(crate) async fn run(command: WebhookCommand) -> anyhow::Result<ExitCode> {
    match command {
        WebhookCommand::List { server } => {
            let webhooks = super::client(server)?.webhooks().await?;
            let rows = webhooks.into_iter().map(|one| {
                let state = if one.enabled { "enabled" } else { "disabled" };
                vec![one.id, one.name, state.to_owned(), one.events.len().to_string(), one.url]
            });
            let rows: Vec<_> = rows.collect();
            output::line(output::table(
                &["ID", "NAME", "STATE", "TYPES", "URL"],
                &rows,
                Paint::for_stdout(),
            ))?;
        }
        WebhookCommand::Info { id, server } => show(&super::client(server)?.webhook(&id).await?)?,
        WebhookCommand::Create(arguments) => create(*arguments).await?,
        WebhookCommand::Update(arguments) => update(*arguments).await?,
        WebhookCommand::Stats { id, server } => show(&super::client(server)?.webhook_stats(&id).await?)?,
        WebhookCommand::Delete { id, server } => super::client(server)?.delete_webhook(&id).await?,
        WebhookCommand::Test { id, server } => {
            let attempt = super::client(server)?.test_webhook(&id).await?;
            output::line(attempts(std::slice::from_ref(&attempt)))?;
            if attempt["status"] != "success" {
                return Ok(ExitCode::FAILURE);
            }
        }
        WebhookCommand::Deliveries { id, delivery: Some(delivery), server, .. } => {
            show(&super::client(server)?.attempt(&id, &delivery).await?)?;
        }
        WebhookCommand::Deliveries { id, delivery: None, failed, limit, server } => {
            let page = super::client(server)?.attempts(&id, failed, limit).await?;
            let groups = page["data"].as_array().map(Vec::as_slice).unwrap_or_default();
            let mut all: Vec<Value> =
                groups.iter().filter_map(|group| group["attempts"].as_array()).flatten().cloned().collect();
            // They come by event; times in RFC 3339 sort as texts.
            all.sort_by(|one, other| other["timestamp"].as_str().cmp(&one["timestamp"].as_str()));
            output::line(attempts(&all))?;
        }
        WebhookCommand::DeadLetters { id, server } => dead_letters(&super::client(server)?, &id).await?,
        WebhookCommand::Resend { id, delivery, server } => {
            let client = super::client(server)?;
            let replay = client.resend(&id, &delivery).await?;
            return wait(&client, &id, replay).await;
        }
        WebhookCommand::Replay { id, all, since, until, rate, detach, server } => {
            let client = super::client(server)?;
            let select = if all { "all" } else { "failed" };
            let body = json!({ "select": select, "since": since, "until": until, "ratePerSecond": rate });
            let replay = client.start_replay(&id, &body).await?;
            if detach {
                output::line(text(&replay["id"]))?;
            } else {
                return wait(&client, &id, replay).await;
            }
        }
        WebhookCommand::Replays { id, server } => {
            let replays = super::client(server)?.replays(&id).await?;
            for replay in replays.as_array().into_iter().flatten() {
                output::line(progress(replay))?;
            }
        }
        WebhookCommand::CancelReplay { id, replay, server } => {
            output::line(progress(&super::client(server)?.cancel_replay(&id, &replay).await?))?;
        }
        WebhookCommand::RotateSecret { id, overlap, server } => {
            let changed = super::client(server)?.rotate_secret(&id, overlap).await?;
            output::line(text(&changed["signatureSecret"]))?;
            output::note(format_args!(
                "the old secret counts until {}",
                text(&changed["previousValidUntil"])
            ));
        }
        WebhookCommand::Listen { forward_to, types, sandbox, secret, server } => {
            let types = types.iter().map(|name| full_name(name)).collect();
            let secret = secret.unwrap_or_else(draw_secret);
            return listen::run(&super::client(server)?, &forward_to, types, sandbox.as_deref(), secret)
                .await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(arguments: CreateWebhookArgs) -> anyhow::Result<()> {
    let CreateWebhookArgs { url, name, events, secret, options, server } = arguments;
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
    output::line(text(&webhook["id"]))?;
    if drawn {
        output::note(format_args!("secret: {secret}"));
    }
    Ok(())
}

async fn update(arguments: UpdateWebhookArgs) -> anyhow::Result<()> {
    let UpdateWebhookArgs { id, url, name, events, enable, disable, options, server } = arguments;
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
    show(&super::client(server)?.update_webhook(&id, &Value::Object(body)).await?)
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

async fn dead_letters(client: &Client, id: &str) -> anyhow::Result<()> {
    let (mut rows, mut cursor) = (Vec::new(), None);
    loop {
        let page = client.dead_letters(id, cursor.as_deref()).await?;
        for letter in page["data"].as_array().into_iter().flatten() {
            let cells = ["timestamp", "eventType", "sandboxId", "attempts", "eventId"];
            rows.push(cells.map(|key| text(&letter[key])).to_vec());
        }
        cursor = page["nextCursor"].as_str().map(ToOwned::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    let head = ["TIME", "EVENT", "SANDBOX", "ATTEMPTS", "EVENT ID"];
    output::line(output::table(&head, &rows, Paint::for_stdout()))?;
    Ok(())
}

/// Shows a replay's progress until it is over.
async fn wait(client: &Client, id: &str, mut replay: Value) -> anyhow::Result<ExitCode> {
    let replay_id = text(&replay["id"]);
    while replay["state"] == "running" {
        tokio::time::sleep(POLL).await;
        replay = client.replay(id, &replay_id).await?;
    }
    output::line(progress(&replay))?;
    let failed = replay["failed"].as_u64().unwrap_or(0);
    Ok(if replay["state"] == "done" && failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn progress(replay: &Value) -> String {
    let [id, state, looked_at, total, selected, delivered, failed] =
        ["id", "state", "lookedAt", "total", "selected", "delivered", "failed"].map(|key| text(&replay[key]));
    format!(
        "{id}  {state}: looked at {looked_at} of {total} events, selected {selected}, delivered {delivered}, failed {failed}"
    )
}

fn attempts(all: &[Value]) -> String {
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|attempt| {
            let keys = [
                "timestamp",
                "eventType",
                "status",
                "responseHttpStatusCode",
                "durationMs",
                "errorMessage",
                "id",
            ];
            keys.map(|key| text(&attempt[key])).to_vec()
        })
        .collect();
    let head = ["TIME", "EVENT", "STATUS", "HTTP", "MS", "ERROR", "DELIVERY"];
    output::table(&head, &rows, Paint::for_stdout())
}

fn show(value: &Value) -> anyhow::Result<()> {
    output::line(serde_json::to_string_pretty(value)?)?;
    Ok(())
}

/// A value as a person reads it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
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
        assert_eq!(progress(&replay), expected);
        assert!(draw_secret().starts_with("whsec_"));
        assert_ne!(draw_secret(), draw_secret());
    }
}
