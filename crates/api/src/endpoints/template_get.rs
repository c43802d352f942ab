//! `GET /templates/{id}`: one template with its builds.

use crate::json::Json;
use axum::extract::State;
use sandscope_wire::template::TemplateWithBuilds;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::query::Query;
use crate::segments::{TemplatePath, echo};
use crate::{App, paths};

/// One template with its newest build.
#[utoipa::path(
    get,
    path = paths::TEMPLATE,
    tag = "templates",
    params(
        ("templateID" = String, Path, description = "An id or name, percent-encoded"),
        ("limit" = Option<i32>, Query, minimum = 1, maximum = 100, description = "Builds at most. Default 100"),
    ),
    responses((status = 200, description = "The template", body = TemplateWithBuilds))
)]
pub(crate) async fn get_template(
    State(app): State<App>,
    caller: Caller,
    TemplatePath(reference): TemplatePath,
    query: Query,
) -> Result<Json<TemplateWithBuilds>, ApiError> {
    query.limit(100)?;
    let found = app.store.facts.resolve_template(caller.team.id, &reference).await?;
    let (template, build) = found.ok_or_else(|| ApiError::no_such_template(&echo(&reference)))?;
    let (slug, envd_version) = (&caller.team.slug, app.lives.envd_version());
    Ok(Json(TemplateWithBuilds::new(&template, &build, slug, envd_version)))
}
