//! Forwarding the live stream to a developer's machine: what arrives there is what a webhook would have sent.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use sandscope_client::{Client, Event, EventFilter, Followed, Transport};
use sandscope_model::{Clock as _, EventId, Secret, WebhookId};
use sandscope_wire::signature;
use serde_json::json;
use url::{Position, Url};

use crate::arguments::Format;
use sandscope_console::output::{self, printable};
use sandscope_system::{OsEntropy, SystemClock};

/// How long the local receiver may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Forwards until it is stopped.
pub(super) async fn run(
    client: &Client,
    forward_to: &str,
    types: Vec<String>,
    sandbox: Option<&str>,
    secret: String,
    format: Format,
) -> anyhow::Result<ExitCode> {
    let url = Url::parse(forward_to).with_context(|| format!("{forward_to} is no URL"))?;
    let target = Target {
        transport: Transport::new(&url[..Position::AfterPort])?,
        path: url[Position::BeforePath..Position::AfterQuery].to_owned(),
        id: WebhookId::generate(&OsEntropy),
        secret: Secret::new(secret),
    };
    output::note(format_args!("signing with {}", target.secret.expose()));
    let filter = EventFilter { types, ..EventFilter::default() };
    let mut follow = client.follow(sandbox, &filter, "latest");
    output::note(format_args!("forwarding to {forward_to}; stop with Ctrl-C"));
    loop {
        match follow.next().await? {
            Followed::Event(event) => {
                let outcome = match target.forward(&event).await {
                    Ok(status) => status.to_string(),
                    Err(error) => format!("{error:#}"),
                };
                let about = event.sandbox_id.as_deref().unwrap_or("-");
                match format {
                    Format::Pretty => {
                        output::line(printable(&format!("{}  {about}  {outcome}", event.event_type)))?;
                    }
                    Format::Json => output::line(json!({ "event": event, "outcome": outcome }))?,
                }
            }
            Followed::Reset(about) => output::note(format_args!("events are missing: {about}")),
            Followed::Broken(error) => output::note(format_args!("{error}; connecting again")),
        }
    }
}

struct Target {
    transport: Transport,
    path: String,
    id: WebhookId,
    secret: Secret,
}

impl Target {
    async fn forward(&self, event: &Event) -> anyhow::Result<u16> {
        let rendered = serde_json::to_value(event)?;
        let body = rendered.as_object().and_then(sandscope_wire::event::body_of_rendered);
        let body = body.context("the server sent an event of an unknown type")?;
        let id: EventId = event.id.parse()?;
        let at = SystemClock.now();
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header(header::CONTENT_TYPE, "application/json")
            .header("e2b-webhook-id", self.id.to_string())
            .header("e2b-delivery-id", EventId::generate(&OsEntropy).to_string())
            .header("e2b-signature-version", signature::V1)
            .header("e2b-signature", signature::v1(&self.secret, &body))
            .header("webhook-id", id.to_string())
            .header("webhook-timestamp", at.as_second().to_string())
            .header("webhook-signature", signature::standard(&self.secret, id, at, &body))
            .body(Full::new(Bytes::from(body)))?;
        Ok(self.transport.send(request, TIMEOUT).await?.status.as_u16())
    }
}
