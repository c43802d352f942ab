//! `GET /templates/aliases/{alias}`: whether a name is taken, as the caller sees it.

use crate::json::Json;
use axum::extract::State;
use sandscope_wire::template::TemplateAlias;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::segments::{TemplatePath, echo};
use crate::{App, paths};

/// Which template has a name. Names are each team's own: another team's answers 404, like one that nobody has.
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
    let found = app.store.facts.template_named(caller.team.id, &alias).await?;
    let template = found.ok_or_else(|| ApiError::no_such_template(&echo(&alias)))?;
    Ok(Json(TemplateAlias { template_id: template.id.to_string(), public: template.team_id.is_none() }))
}
