//! `GET /alerts`: the rules, and what fires.

use crate::json::Json;
use axum::extract::State;
use sandscope_model::Fact;
use sandscope_store::FiringAlert;
use sandscope_wire::alert::{Alerts, FiringAlertView};

use super::alert_rules::all_rules;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::{App, paths};

/// Alerts of one answer.
const MAX_FIRING: usize = 1_000;

/// The rules that hold for the team, and what fires by them.
#[utoipa::path(
    get,
    path = paths::ALERTS,
    tag = "alerts",
    responses((status = 200, description = "Rules, and the 1,000 alerts that have been firing longest", body = Alerts))
)]
pub(crate) async fn list_alerts(State(app): State<App>, caller: Caller) -> Result<Json<Alerts>, ApiError> {
    let rules = all_rules(&app, &caller).await?;
    let limit = u32::try_from(MAX_FIRING + 1).unwrap_or(u32::MAX);
    let mut firing = app.store.alerts.firing_alerts(caller.team.id, limit).await?;
    let has_more = firing.len() > MAX_FIRING;
    firing.truncate(MAX_FIRING);
    let view = |alert: &FiringAlert| {
        let notice = match &alert.published.fact {
            Fact::Alert { notice, .. } => Some(&**notice),
            _ => None,
        };
        FiringAlertView::new(&alert.key.subject, &alert.key.rule, alert.since, notice)
    };
    Ok(Json(Alerts { rules, firing: firing.iter().map(view).collect(), has_more }))
}
