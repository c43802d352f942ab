use http::Method;
use serde::Deserialize;

use crate::control::segment;
use crate::types::{Event, NewWebhook, Webhook, WebhookDeliveryGroup};
use crate::{Client, ClientError};

/// Which events.
#[derive(Debug, Clone)]
pub struct EventQuery {
    /// Of one sandbox only.
    pub sandbox_id: Option<String>,
    /// Of these types only; all where empty.
    pub types: Vec<String>,
    /// How many to skip.
    pub offset: u32,
    /// How many to return, 1 to 100.
    pub limit: u32,
    /// Oldest first.
    pub ascending: bool,
}

impl Default for EventQuery {
    fn default() -> Self {
        Self { sandbox_id: None, types: Vec::new(), offset: 0, limit: 10, ascending: false }
    }
}

impl Client {
    /// The history.
    pub async fn events(&self, query: &EventQuery) -> Result<Vec<Event>, ClientError> {
        let of = query.sandbox_id.as_deref().map_or_else(String::new, |id| format!("/{}", segment(id)));
        let types: String = query.types.iter().map(|name| format!("&types={}", segment(name))).collect();
        let EventQuery { offset, limit, ascending, .. } = query;
        self.get(&format!("/events/sandboxes{of}?offset={offset}&limit={limit}&orderAsc={ascending}{types}"))
            .await
    }

    /// Registers a webhook.
    pub async fn create_webhook(&self, webhook: &NewWebhook) -> Result<Webhook, ClientError> {
        self.post("/events/webhooks", webhook).await
    }

    /// Every webhook of the team.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, ClientError> {
        self.get("/events/webhooks").await
    }

    /// Deletes a webhook.
    pub async fn delete_webhook(&self, id: &str) -> Result<(), ClientError> {
        self.ask(Method::DELETE, &format!("/events/webhooks/{}", segment(id)), None).await.map(|_| ())
    }

    /// The newest attempts at delivering to a webhook, by event; `limit` counts attempts, 1 to 100.
    pub async fn deliveries(
        &self,
        webhook_id: &str,
        limit: u32,
    ) -> Result<Vec<WebhookDeliveryGroup>, ClientError> {
        #[derive(Deserialize)]
        struct Page {
            data: Vec<WebhookDeliveryGroup>,
        }
        let path = format!("/events/webhooks/{}/deliveries?limit={limit}", segment(webhook_id));
        self.get::<Page>(&path).await.map(|page| page.data)
    }
}
