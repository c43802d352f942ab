use http::Method;
use serde::Deserialize;

use crate::control::segment;
use crate::types::{Event, NewWebhook, Webhook, WebhookDeliveryGroup};
use crate::{Client, ClientError};

/// Which events; all conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Of these types only; `all` is every type. Where empty, pages have the lifecycle's and streams all.
    pub types: Vec<String>,
    /// Kills for these reasons only; any event where empty.
    pub reasons: Vec<String>,
    /// Of sandboxes of this template only: an id or name.
    pub template: Option<String>,
    /// Of sandboxes with these labels only.
    pub metadata: Vec<(String, String)>,
    /// Only what happened then or later: RFC 3339, or seconds since 1970.
    pub start: Option<String>,
    /// Only what happened before then.
    pub end: Option<String>,
}

impl EventFilter {
    /// As the end of a query string, each part after a `&`.
    pub(crate) fn query(&self) -> String {
        let mut query = String::new();
        let mut add = |name: &str, value: &str| {
            query.push_str(&format!("&{name}={}", segment(value)));
        };
        self.types.iter().for_each(|name| add("types", name));
        self.reasons.iter().for_each(|reason| add("reason", reason));
        let single = [("template", &self.template), ("start", &self.start), ("end", &self.end)];
        single.into_iter().for_each(|(name, value)| value.iter().for_each(|value| add(name, value)));
        if !self.metadata.is_empty() {
            // Encoded once more as a whole by `add`.
            let twice = |text: &str| segment(&segment(text));
            let pairs = self.metadata.iter().map(|(key, value)| format!("{}={}", twice(key), twice(value)));
            add("metadata", &pairs.collect::<Vec<_>>().join("&"));
        }
        query
    }
}

/// A part of the history.
#[derive(Debug, Clone)]
pub struct EventQuery {
    /// Of one sandbox only.
    pub sandbox_id: Option<String>,
    /// Which events.
    pub filter: EventFilter,
    /// How many to skip.
    pub offset: u32,
    /// How many to return, 1 to 100.
    pub limit: u32,
    /// Oldest first.
    pub ascending: bool,
    /// Where to start: a page's `next_cursor`, or `latest`.
    pub cursor: Option<String>,
    /// How many seconds to wait for events where there are none yet.
    pub wait_s: u32,
}

impl Default for EventQuery {
    fn default() -> Self {
        Self {
            sandbox_id: None,
            filter: EventFilter::default(),
            offset: 0,
            limit: 10,
            ascending: false,
            cursor: None,
            wait_s: 0,
        }
    }
}

/// A page of the history.
#[derive(Debug, Clone)]
pub struct EventPage {
    /// The events.
    pub events: Vec<Event>,
    /// Where to go on; oldest first always there.
    pub next_cursor: Option<String>,
    /// Whether more may be there already.
    pub has_more: bool,
    /// Events behind the cursor that nobody can read any more, `first-last`.
    pub lost: Option<String>,
}

impl Client {
    /// The history.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn events(&self, query: &EventQuery) -> Result<Vec<Event>, ClientError> {
        self.event_page(query).await.map(|page| page.events)
    }

    /// The history, with where to go on.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn event_page(&self, query: &EventQuery) -> Result<EventPage, ClientError> {
        let EventQuery { sandbox_id, filter, offset, limit, ascending, cursor, wait_s } = query;
        let of = sandbox_id.as_deref().map_or_else(String::new, |id| format!("/{}", segment(id)));
        let mut path = format!("/events/sandboxes{of}?limit={limit}&orderAsc={ascending}");
        if *offset > 0 {
            path.push_str(&format!("&offset={offset}"));
        }
        if let Some(cursor) = cursor {
            path.push_str(&format!("&cursor={}", segment(cursor)));
        }
        if *wait_s > 0 {
            path.push_str(&format!("&wait={wait_s}"));
        }
        path.push_str(&filter.query());
        let reply = self.ask(Method::GET, &path, None).await?;
        let header = |name: &str| reply.headers.get(name).and_then(|value| value.to_str().ok());
        Ok(EventPage {
            next_cursor: header("x-next-cursor").map(str::to_owned),
            has_more: header("x-has-more") == Some("true"),
            lost: header("x-events-lost").map(str::to_owned),
            events: serde_json::from_slice(&reply.body)?,
        })
    }

    /// Registers a webhook.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn create_webhook(&self, webhook: &NewWebhook) -> Result<Webhook, ClientError> {
        self.post("/events/webhooks", webhook).await
    }

    /// Every webhook of the team.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, ClientError> {
        self.get("/events/webhooks").await
    }

    /// Deletes a webhook.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn delete_webhook(&self, id: &str) -> Result<(), ClientError> {
        self.ask(Method::DELETE, &format!("/events/webhooks/{}", segment(id)), None).await.map(|_| ())
    }

    /// The newest attempts at delivering to a webhook, by event; `limit` counts attempts, 1 to 100.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_written_as_the_lists_read_it() {
        let filter = EventFilter {
            types: vec!["a".to_owned(), "b".to_owned()],
            reasons: vec!["oom".to_owned()],
            metadata: vec![("a b".to_owned(), "c&d".to_owned()), ("k".to_owned(), "v".to_owned())],
            start: Some("2026-01-01T00:00:00Z".to_owned()),
            ..EventFilter::default()
        };
        assert_eq!(
            filter.query(),
            "&types=a&types=b&reason=oom&start=2026%2D01%2D01T00%3A00%3A00Z\
             &metadata=a%252520b%3Dc%252526d%26k%3Dv"
        );
        assert_eq!(EventFilter::default().query(), "");
    }
}
