//! `GET /alerts`: the rules, and what fires.

use axum::Json;
use axum::extract::State;
use sandscope_wire::alert::{Alerts, FiringAlertView};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::{App, paths};

/// The rules of this server, and which of them fire for the team's sandboxes.
#[utoipa::path(
    get,
    path = paths::ALERTS,
    tag = "metrics",
    responses((status = 200, description = "Rules and alerts", body = Alerts))
)]
pub(crate) async fn list_alerts(State(app): State<App>, caller: Caller) -> Result<Json<Alerts>, ApiError> {
    let firing = app.store.firing_alerts(Some(caller.team.id)).await?;
    let view = |alert: &sandscope_store::FiringAlert| {
        FiringAlertView::new(alert.sandbox_id.as_str(), &alert.rule, alert.since)
    };
    Ok(Json(Alerts {
        rules: app.alert_rules.iter().map(Into::into).collect(),
        firing: firing.iter().map(view).collect(),
    }))
}
