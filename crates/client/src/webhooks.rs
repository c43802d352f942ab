//! Operating webhooks. Answers are JSON as the server sends them: the caller shows them to people.

use http::Method;
use serde_json::{Value, json};

use crate::control::segment;
use crate::{Client, ClientError};

impl Client {
    /// Asks for something below `/events/webhooks/{id}`.
    async fn of_webhook(
        &self,
        method: Method,
        id: &str,
        rest: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let path = format!("/events/webhooks/{}{rest}", segment(id));
        let reply = self.ask(method, &path, body).await?;
        Ok(serde_json::from_slice(&reply.body)?)
    }

    /// Registers a webhook with whatever `body` says.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn register_webhook(&self, body: &Value) -> Result<Value, ClientError> {
        self.post("/events/webhooks", body).await
    }

    /// Every webhook, oldest first, each with how deliveries to it have been going.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn webhooks_with_status(&self) -> Result<Vec<Value>, ClientError> {
        self.get("/events/webhooks?status=true").await
    }

    /// One webhook, and how deliveries to it have been going.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn webhook(&self, id: &str) -> Result<Value, ClientError> {
        self.of_webhook(Method::GET, id, "", None).await
    }

    /// Changes what `body` gives; answers the webhook as it is then.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn update_webhook(&self, id: &str, body: &Value) -> Result<Value, ClientError> {
        self.of_webhook(Method::PATCH, id, "", Some(body)).await
    }

    /// How deliveries went over the last day.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn webhook_stats(&self, id: &str) -> Result<Value, ClientError> {
        self.of_webhook(Method::GET, id, "/stats", None).await
    }

    /// Sends a made-up event; answers the attempt.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn test_webhook(&self, id: &str) -> Result<Value, ClientError> {
        self.of_webhook(Method::POST, id, "/test", Some(&json!({}))).await
    }

    /// Attempts, newest first, by event.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn attempts(&self, id: &str, failed: bool, limit: u32) -> Result<Value, ClientError> {
        let status = if failed { "&deliveryStatus=failed" } else { "" };
        self.of_webhook(Method::GET, id, &format!("/deliveries?limit={limit}{status}"), None).await
    }

    /// One attempt.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn attempt(&self, id: &str, delivery: &str) -> Result<Value, ClientError> {
        self.of_webhook(Method::GET, id, &format!("/deliveries/{}", segment(delivery)), None).await
    }

    /// Sends the event of an attempt again; answers the replay that does it.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn resend(&self, id: &str, delivery: &str) -> Result<Value, ClientError> {
        let path = format!("/deliveries/{}/resend", segment(delivery));
        self.of_webhook(Method::POST, id, &path, Some(&json!({}))).await
    }

    /// A page of what ran out of attempts, from behind `cursor`.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn dead_letters(&self, id: &str, cursor: Option<&str>) -> Result<Value, ClientError> {
        let cursor = cursor.map_or_else(String::new, |cursor| format!("&cursor={}", segment(cursor)));
        self.of_webhook(Method::GET, id, &format!("/dead-letters?limit=100{cursor}"), None).await
    }

    /// Starts a replay with whatever `body` says.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn start_replay(&self, id: &str, body: &Value) -> Result<Value, ClientError> {
        self.of_webhook(Method::POST, id, "/replays", Some(body)).await
    }

    /// The webhook's replays, newest first.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn replays(&self, id: &str) -> Result<Value, ClientError> {
        self.of_webhook(Method::GET, id, "/replays", None).await
    }

    /// One replay.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn replay(&self, id: &str, replay: &str) -> Result<Value, ClientError> {
        self.of_webhook(Method::GET, id, &format!("/replays/{}", segment(replay)), None).await
    }

    /// Ends a replay.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn cancel_replay(&self, id: &str, replay: &str) -> Result<Value, ClientError> {
        self.of_webhook(Method::DELETE, id, &format!("/replays/{}", segment(replay)), None).await
    }

    /// Draws a new secret; the old one counts for `overlap_s` seconds more.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn rotate_secret(&self, id: &str, overlap_s: u32) -> Result<Value, ClientError> {
        let body = json!({ "overlapSeconds": overlap_s });
        self.of_webhook(Method::POST, id, "/secret", Some(&body)).await
    }
}
