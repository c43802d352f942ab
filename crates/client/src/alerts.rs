//! Alerts and their rules.

use http::Method;
use sandscope_wire::alert::{AlertRuleBody, AlertRuleView, Alerts};
use serde_json::Value;

use crate::control::segment;
use crate::{Client, ClientError};

impl Client {
    /// The rules that hold for the team, and what fires.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn alerts(&self) -> Result<Alerts, ClientError> {
        self.get("/alerts").await
    }

    /// The rules that hold for the team.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn alert_rules(&self) -> Result<Vec<AlertRuleView>, ClientError> {
        self.get("/alerts/rules").await
    }

    /// One rule: the team's by its id, the operator's by its name.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn alert_rule(&self, reference: &str) -> Result<AlertRuleView, ClientError> {
        self.get(&format!("/alerts/rules/{}", segment(reference))).await
    }

    /// Makes a rule.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn create_alert_rule(&self, rule: &AlertRuleBody) -> Result<AlertRuleView, ClientError> {
        self.post("/alerts/rules", &without_nulls(rule)?).await
    }

    /// Changes what is given of a rule.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn update_alert_rule(
        &self,
        id: &str,
        change: &AlertRuleBody,
    ) -> Result<AlertRuleView, ClientError> {
        let body = without_nulls(change)?;
        let reply = self.ask(Method::PATCH, &format!("/alerts/rules/{}", segment(id)), Some(&body)).await?;
        Ok(serde_json::from_slice(&reply.body)?)
    }

    /// Deletes a rule.
    ///
    /// # Errors
    /// [`ClientError`] if the request fails or is refused.
    pub async fn delete_alert_rule(&self, id: &str) -> Result<(), ClientError> {
        self.ask(Method::DELETE, &format!("/alerts/rules/{}", segment(id)), None).await.map(|_| ())
    }
}

/// Only what is given.
fn without_nulls(body: &AlertRuleBody) -> Result<Value, ClientError> {
    let mut value = serde_json::to_value(body)?;
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    Ok(value)
}
