//! `DELETE /templates/{id}`: deletes a template or snapshot of the team.

use axum::extract::State;
use http::StatusCode;
use sandscope_lives::DeleteTemplateError;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::segments::{TemplatePath, echo};
use crate::{App, paths};

/// Deletes a template or snapshot of the team; 400 while sandboxes use it.
#[utoipa::path(
    delete,
    path = paths::TEMPLATE,
    tag = "templates",
    params(("templateID" = String, Path, description = "An id, name or snapshot id, percent-encoded")),
    responses((status = 204, description = "It is gone"))
)]
pub(crate) async fn delete_template(
    State(app): State<App>,
    caller: Caller,
    TemplatePath(reference): TemplatePath,
) -> Result<StatusCode, ApiError> {
    let name = echo(&reference);
    app.lives.delete_template(&caller.team, &reference).await.map_err(|error| match error {
        DeleteTemplateError::NotFound => ApiError::no_such_template(&name),
        DeleteTemplateError::InUse => {
            let message = format!("cannot delete template '{name}' because there are sandboxes using it");
            ApiError::bad_request(message)
        }
        DeleteTemplateError::Shipped => {
            let message = format!("template '{name}' comes with the server and cannot be deleted");
            ApiError::new(StatusCode::FORBIDDEN, message)
        }
        DeleteTemplateError::Record(error) => error.into(),
    })?;
    Ok(StatusCode::NO_CONTENT)
}
