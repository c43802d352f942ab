use std::time::Duration;

use sandscope_client::{EventFilter, EventQuery, NewSandbox, NewWebhook};

use super::{Child, Row, quantiles, row};
use sandscope_receiver::Receiver;
use sandscope_system::OsEntropy;

/// Events made, two pages of history.
const N_EVENTS: u32 = 200;

/// How long the last delivery may take.
const LIMIT: Duration = Duration::from_secs(30);

/// From an event to its arrival at a receiver on loopback.
pub(super) async fn measure() -> anyhow::Result<Vec<Row>> {
    let server = Child::start().await?;
    let secret = sandscope_model::keys::draw(&OsEntropy);
    let receiver = Receiver::start(secret.expose()).await?;
    let webhook = NewWebhook {
        name: "bench".to_owned(),
        url: receiver.url().to_owned(),
        events: vec!["sandbox.lifecycle.updated".to_owned()],
        enabled: true,
        signature_secret: secret.expose().to_owned(),
    };
    server.client().create_webhook(&webhook).await?;
    let wanted = NewSandbox { template_id: "base".to_owned(), ..NewSandbox::default() };
    let sandbox = server.client().create_sandbox(&wanted).await?;
    for _ in 0..N_EVENTS {
        server.client().set_timeout(&sandbox.sandbox_id, 300).await?;
    }
    let mut events = Vec::new();
    for offset in [0, 100] {
        let query = EventQuery {
            filter: EventFilter {
                types: vec!["sandbox.lifecycle.updated".to_owned()],
                ..EventFilter::default()
            },
            offset,
            limit: 100,
            ..EventQuery::default()
        };
        events.extend(server.client().events(&query).await?);
    }
    let ids: Vec<String> = events.iter().map(|event| event.id.clone()).collect();
    anyhow::ensure!(receiver.wait_for(&ids, LIMIT).await, "not every event was delivered");
    let latency = |event: &sandscope_client::Event| {
        let at: jiff::Timestamp = event.timestamp.parse().ok()?;
        let took = receiver.delivery(&event.id)?.received_at.duration_since(at);
        Duration::try_from(took).ok()
    };
    let mut latencies: Vec<Duration> = events.iter().filter_map(latency).collect();
    server.stop().await?;
    let remark = format!(
        "{} events, one after the other; from the event's time, so its commit is included",
        latencies.len()
    );
    Ok(vec![row("event to webhook, loopback", quantiles::describe(&mut latencies), remark)])
}
