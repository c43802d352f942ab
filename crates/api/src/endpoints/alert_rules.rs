//! `/alerts/rules`: rules of alerts, the operator's to be read, the team's own to be made and changed as well.

use crate::json::Json;
use axum::extract::State;
use http::StatusCode;
use sandscope_model::{AlertBounds, AlertGiven, AlertRule, AlertRuleId, TeamAlertRule};
use sandscope_store::RuleOutcome;
use sandscope_wire::alert::{AlertRuleBody, AlertRuleView};

use crate::auth::Caller;
use crate::body::JsonBody;
use crate::error::ApiError;
use crate::segments::{RulePath, echo};
use crate::{App, paths};

/// Rules of a team at most.
pub(crate) const MAX_RULES: u32 = 100;

const LIMIT_REACHED: &str = "Alert rule limit reached";

/// The rules that hold for the team: the operator's, then the team's own, the oldest first.
#[utoipa::path(
    get,
    path = paths::ALERT_RULES,
    tag = "alerts",
    responses((status = 200, description = "The rules", body = [AlertRuleView]))
)]
pub(crate) async fn list_alert_rules(
    State(app): State<App>,
    caller: Caller,
) -> Result<Json<Vec<AlertRuleView>>, ApiError> {
    all_rules(&app, &caller).await.map(Json)
}

/// Makes a rule, which holds at once. 100 of them at most.
#[utoipa::path(
    post,
    path = paths::ALERT_RULES,
    tag = "alerts",
    request_body = AlertRuleBody,
    responses((status = 201, description = "The rule", body = AlertRuleView))
)]
pub(crate) async fn create_alert_rule(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<AlertRuleBody>,
) -> Result<(StatusCode, Json<AlertRuleView>), ApiError> {
    let new = TeamAlertRule {
        id: AlertRuleId::generate(&*app.entropy),
        team_id: caller.team.id,
        revision: 1,
        created_at: app.clock.now(),
        rule: check(&app, &caller, &body.into_given())?,
    };
    let outcome = app.store.alerts.insert_alert_rule(new, MAX_RULES).await?;
    stored(outcome).map(|rule| (StatusCode::CREATED, rule))
}

/// One rule: the team's by its id, the operator's by its name.
#[utoipa::path(
    get,
    path = paths::ALERT_RULE,
    tag = "alerts",
    params(("ruleID" = String, Path)),
    responses((status = 200, description = "The rule", body = AlertRuleView))
)]
pub(crate) async fn get_alert_rule(
    State(app): State<App>,
    caller: Caller,
    RulePath(reference): RulePath,
) -> Result<Json<AlertRuleView>, ApiError> {
    if let Some(rule) = operators(&app, &reference) {
        return Ok(Json(rule.into()));
    }
    let own = match reference.parse() {
        Ok(id) => app.store.alerts.alert_rule(caller.team.id, id).await?,
        Err(_) => None,
    };
    own.as_ref().map(|rule| Json(rule.into())).ok_or_else(|| unknown(&reference))
}

/// Changes what is given of one of the team's rules. What fires by it resolves, and fires again if it still has to.
#[utoipa::path(
    patch,
    path = paths::ALERT_RULE,
    tag = "alerts",
    params(("ruleID" = String, Path)),
    request_body = AlertRuleBody,
    responses((status = 200, description = "The rule as it is now", body = AlertRuleView))
)]
pub(crate) async fn update_alert_rule(
    State(app): State<App>,
    caller: Caller,
    RulePath(reference): RulePath,
    JsonBody(body): JsonBody<AlertRuleBody>,
) -> Result<Json<AlertRuleView>, ApiError> {
    let id = own_id(&app, &reference)?;
    let team = caller.team.id;
    let old = app.store.alerts.alert_rule(team, id).await?.ok_or_else(|| unknown(&reference))?;
    let rule = check(&app, &caller, &body.change(&old.rule))?;
    let entropy = std::sync::Arc::clone(&app.entropy);
    match app.store.alerts.update_alert_rule(team, id, rule, app.clock.now(), entropy).await? {
        RuleOutcome::Unknown => Err(unknown(&reference)),
        outcome => stored(outcome),
    }
}

/// Deletes one of the team's rules. What fires by it resolves.
#[utoipa::path(
    delete,
    path = paths::ALERT_RULE,
    tag = "alerts",
    params(("ruleID" = String, Path)),
    responses((status = 204, description = "It is gone"))
)]
pub(crate) async fn delete_alert_rule(
    State(app): State<App>,
    caller: Caller,
    RulePath(reference): RulePath,
) -> Result<StatusCode, ApiError> {
    let id = own_id(&app, &reference)?;
    let entropy = std::sync::Arc::clone(&app.entropy);
    if app.store.alerts.delete_alert_rule(caller.team.id, id, app.clock.now(), entropy).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(unknown(&reference))
    }
}

/// Every rule that holds for the team.
pub(super) async fn all_rules(app: &App, caller: &Caller) -> Result<Vec<AlertRuleView>, ApiError> {
    let own = app.store.alerts.alert_rules(Some(caller.team.id)).await?;
    let operators = app.alert_rules.iter().map(AlertRuleView::from);
    Ok(operators.chain(own.iter().map(AlertRuleView::from)).collect())
}

fn operators<'a>(app: &'a App, name: &str) -> Option<&'a AlertRule> {
    app.alert_rules.iter().find(|rule| rule.name == name)
}

/// The id of one of the team's own.
fn own_id(app: &App, reference: &str) -> Result<AlertRuleId, ApiError> {
    if operators(app, reference).is_some() {
        let message = format!(
            "rule \"{}\" is the operator's: it is changed in the server's configuration",
            echo(reference)
        );
        return Err(ApiError::new(StatusCode::FORBIDDEN, message));
    }
    reference.parse().map_err(|_| unknown(reference))
}

fn unknown(reference: &str) -> ApiError {
    ApiError::not_found(format!("Alert rule \"{}\" not found", echo(reference)))
}

fn check(app: &App, caller: &Caller, given: &AlertGiven) -> Result<AlertRule, ApiError> {
    let bounds = AlertBounds {
        for_s: "forSeconds",
        within_s: "withinSeconds",
        retention_days: caller.team.limits.event_retention_days,
        has_prices: app.prices.is_some(),
    };
    let rule = given.check(&bounds).map_err(|broken| ApiError::bad_request(broken.join("; ")))?;
    if operators(app, &rule.name).is_some() { Err(name_taken()) } else { Ok(rule) }
}

fn name_taken() -> ApiError {
    ApiError::conflict("name must be another: a rule of that name holds for the team already")
}

fn stored(outcome: RuleOutcome) -> Result<Json<AlertRuleView>, ApiError> {
    match outcome {
        RuleOutcome::Stored(rule) => Ok(Json((&rule).into())),
        RuleOutcome::NameTaken => Err(name_taken()),
        RuleOutcome::Full => Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, LIMIT_REACHED).permanent()),
        RuleOutcome::Unknown => Err(ApiError::not_found("Alert rule not found")),
    }
}
