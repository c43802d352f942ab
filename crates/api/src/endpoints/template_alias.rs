//! `GET /templates/aliases/{alias}`: whether a name is taken, and by whom.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use sandscope_wire::template::TemplateAlias;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::segments::{TemplatePath, echo};
use crate::{App, paths};

const FOREIGN: &str = "You don't have access to this template alias";

/// Which template has a name. 403 if it is another team's.
#[utoipa::path(
    get,
    path = paths::TEMPLATE_ALIAS,
    tag = "templates",
    params(("alias" = String, Path, description = "A name, percent-encoded")),
    responses((status = 200, description = "The template", body = TemplateAlias))
)]
pub(crate) async fn get_template_alias(
    State(app): State<App>,
    caller: Caller,
    TemplatePath(alias): TemplatePath,
) -> Result<Json<TemplateAlias>, ApiError> {
    let owner = app.store.facts.template_alias(caller.team.id, &alias).await?;
    let owner = owner.ok_or_else(|| ApiError::no_such_template(&echo(&alias)))?;
    if !owner.own_or_public {
        return Err(ApiError::new(StatusCode::FORBIDDEN, FOREIGN));
    }
    let found = app.store.facts.resolve_template(caller.team.id, owner.template_id.as_str()).await?;
    let public = found.is_some_and(|(template, _)| template.team_id.is_none());
    Ok(Json(TemplateAlias { template_id: owner.template_id.to_string(), public }))
}
