//! `GET /templates`, `GET /v2/templates`, `GET /default-templates`: the templates a team may use.

use crate::json::Json;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use sandscope_model::{Team, TemplateId};
use sandscope_wire::cursor;
use sandscope_wire::template::Template;

use super::next_token::next_token;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::query::Query;
use crate::{App, paths};

const OTHER_TEAM: &str = "You don't have access to this team";

/// The templates the team may use: its own and those that come with the server. Snapshots are listed apart.
#[utoipa::path(
    get,
    path = paths::TEMPLATES,
    tag = "templates",
    params(("teamID" = Option<String>, Query, description = "Only the caller's own")),
    responses((status = 200, description = "The templates", body = [Template]))
)]
pub(crate) async fn list_templates(
    State(app): State<App>,
    caller: Caller,
    query: Query,
) -> Result<Json<Vec<Template>>, ApiError> {
    check_team(&query, &caller.team)?;
    let found = app.store.facts.templates(caller.team.id).await?;
    let envd_version = app.lives.envd_version();
    let listed = found
        .iter()
        .map(|(template, build)| Template::new(template, build, &caller.team.slug, envd_version))
        .collect();
    Ok(Json(listed))
}

/// The same in pages, newest first.
#[utoipa::path(
    get,
    path = paths::TEMPLATES_V2,
    tag = "templates",
    params(
        ("teamID" = Option<String>, Query, description = "Only the caller's own"),
        ("limit" = Option<i32>, Query, minimum = 1, maximum = 100, description = "Default 100"),
        ("nextToken" = Option<String>, Query, description = "`X-Next-Token` of the page before"),
    ),
    responses((status = 200, description = "A page of templates", body = [Template],
               headers(("X-Next-Token" = String, description = "Where the next page starts; absent on the last"))))
)]
pub(crate) async fn list_templates_v2(
    State(app): State<App>,
    caller: Caller,
    query: Query,
) -> Result<(HeaderMap, Json<Vec<Template>>), ApiError> {
    check_team(&query, &caller.team)?;
    let limit = query.limit(100)? as usize;
    let token = query.first("nextToken").filter(|token| !token.is_empty());
    let after = token.map(|token| cursor::decode::<TemplateId>(token, false)).transpose();
    let after = after.map_err(|error| ApiError::bad_request(error.to_string()))?;
    let mut found = app.store.facts.templates(caller.team.id).await?;
    if let Some((created_at, id)) = after {
        found.retain(|(template, _)| {
            template.created_at < created_at || (template.created_at == created_at && template.id > id)
        });
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more);
    let token = last.map(|(template, _)| cursor::encode(template.created_at, &template.id, false));
    let envd_version = app.lives.envd_version();
    let listed = found
        .iter()
        .map(|(template, build)| Template::new(template, build, &caller.team.slug, envd_version))
        .collect();
    Ok((next_token(token), Json(listed)))
}

/// The templates that come with the server.
#[utoipa::path(
    get,
    path = paths::DEFAULT_TEMPLATES,
    tag = "templates",
    responses((status = 200, description = "The templates", body = [Template]))
)]
pub(crate) async fn list_default_templates(
    State(app): State<App>,
    caller: Caller,
) -> Result<Json<Vec<Template>>, ApiError> {
    let found = app.store.facts.templates(caller.team.id).await?;
    let envd_version = app.lives.envd_version();
    let shipped = found
        .iter()
        .filter(|(template, _)| template.team_id.is_none())
        .map(|(template, build)| Template::new(template, build, &caller.team.slug, envd_version))
        .collect();
    Ok(Json(shipped))
}

fn check_team(query: &Query, team: &Team) -> Result<(), ApiError> {
    match query.first("teamID").filter(|id| !id.is_empty()) {
        Some(id) if id.parse() != Ok(team.id) => Err(ApiError::new(StatusCode::FORBIDDEN, OTHER_TEAM)),
        _ => Ok(()),
    }
}
