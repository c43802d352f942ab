//! `DELETE /templates/{id}`: deletes a template or snapshot of the team.

use axum::extract::State;
use http::StatusCode;
use sandscope_store::DeleteTemplate;

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
    match app.lifecycle.delete_template(&caller.team, &reference).await? {
        DeleteTemplate::Deleted(_) => Ok(StatusCode::NO_CONTENT),
        DeleteTemplate::NotFound => Err(ApiError::no_such_template(&name)),
        DeleteTemplate::InUse => {
            let message = format!("cannot delete template '{name}' because there are sandboxes using it");
            Err(ApiError::bad_request(message))
        }
        DeleteTemplate::Shipped => {
            let message = format!("template '{name}' comes with the server and cannot be deleted");
            Err(ApiError::new(StatusCode::FORBIDDEN, message))
        }
    }
}
