//! `POST /sandboxes/{id}/snapshots`: takes a snapshot of a running sandbox, which runs on.

use crate::json::Json;
use axum::extract::State;
use http::StatusCode;
use sandscope_lives::SnapshotName;
use sandscope_wire::name::QualifiedName;
use sandscope_wire::request::SandboxSnapshotRequest;
use sandscope_wire::snapshot::SnapshotInfo;

use crate::auth::Caller;
use crate::body::OptionalJson;
use crate::error::{ApiError, denied_in_state, of_request};
use crate::segments::SandboxPath;
use crate::{App, paths};

/// Takes a snapshot of a running sandbox, which runs on. A name in use gets a new build.
#[utoipa::path(
    post,
    path = paths::SANDBOX_SNAPSHOTS,
    tag = "snapshots",
    params(("sandboxID" = String, Path)),
    request_body = Option<SandboxSnapshotRequest>,
    responses((status = 201, description = "The snapshot", body = SnapshotInfo))
)]
pub(crate) async fn create_snapshot(
    State(app): State<App>,
    caller: Caller,
    SandboxPath(id): SandboxPath,
    OptionalJson(request): OptionalJson<SandboxSnapshotRequest>,
) -> Result<(StatusCode, Json<SnapshotInfo>), ApiError> {
    let name = request.name.as_deref().map(|text| name(text, &caller.team.slug)).transpose()?;
    if let Some(SnapshotName { name, .. }) = &name {
        refuse_shipped(&app, &caller, name).await?;
    }
    let (template, _, tag) = caller
        .lives(&app)
        .checkpoint(&caller.team, &id, name)
        .await
        .map_err(|error| of_request(&id, error, denied_in_state(&id, "snapshotted")))?;
    Ok((StatusCode::CREATED, Json(SnapshotInfo::new(&template, &caller.team.slug, &tag))))
}

/// The names that come with the server mean the same to everybody: a snapshot called `base` would replace `base` for the
/// whole team.
async fn refuse_shipped(app: &App, caller: &Caller, name: &str) -> Result<(), ApiError> {
    let found = app.store.facts.template_named(caller.team.id, name).await?;
    if found.is_none_or(|template| template.team_id.is_some()) {
        return Ok(());
    }
    let message =
        format!("the name '{name}' belongs to a template that comes with the server; choose another");
    Err(ApiError::bad_request(message))
}

fn name(text: &str, slug: &str) -> Result<SnapshotName, ApiError> {
    let name = QualifiedName::parse(text).map_err(|error| ApiError::bad_request(error.to_string()))?;
    match name.namespace {
        Some(namespace) if namespace != slug => {
            let message = format!("namespace '{namespace}' is not your team's, which is '{slug}'");
            Err(ApiError::bad_request(message))
        }
        _ => Ok(SnapshotName { name: name.name, tag: name.tag }),
    }
}
