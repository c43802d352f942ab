//! `GET /snapshots`: the team's snapshots, newest first.

use crate::json::Json;
use axum::extract::State;
use http::HeaderMap;
use sandscope_model::SandboxId;
use sandscope_store::{Page, SnapshotFilter};
use sandscope_wire::cursor;
use sandscope_wire::name::QualifiedName;
use sandscope_wire::snapshot::SnapshotInfo;

use super::next_token::next_token;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::query::Query;
use crate::{App, paths};

/// The team's snapshots, newest first.
#[utoipa::path(
    get,
    path = paths::SNAPSHOTS,
    tag = "snapshots",
    params(
        ("sandboxID" = Option<String>, Query, description = "Only those taken of this sandbox"),
        ("name" = Option<String>, Query, description = "Only those of this name"),
        ("limit" = Option<i32>, Query, minimum = 1, maximum = 100, description = "Default 100"),
        ("nextToken" = Option<String>, Query, description = "`X-Next-Token` of the page before"),
    ),
    responses((status = 200, description = "A page of snapshots", body = [SnapshotInfo],
               headers(("X-Next-Token" = String, description = "Where the next page starts; absent on the last"))))
)]
pub(crate) async fn list_snapshots(
    State(app): State<App>,
    caller: Caller,
    query: Query,
) -> Result<(HeaderMap, Json<Vec<SnapshotInfo>>), ApiError> {
    let limit = query.limit(100)?;
    let after = query.first("nextToken").filter(|token| !token.is_empty());
    let after = after.map(|token| cursor::decode(token, false)).transpose();
    let after = after.map_err(|error| ApiError::bad_request(error.to_string()))?;
    let slug = &caller.team.slug;
    let Some(filter) = filter(&query, slug)? else { return Ok((HeaderMap::new(), Json(Vec::new()))) };
    let page = Page { after, limit: limit + 1 };
    let mut found = app.store.facts.snapshots(caller.team.id, filter, page).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let last = found.last().filter(|_| more);
    let token = last.map(|(template, build, _)| cursor::encode(build.created_at, &template.id, false));
    let snapshots = found.iter().map(|(template, _, tag)| SnapshotInfo::new(template, slug, tag)).collect();
    Ok((next_token(token), Json(snapshots)))
}

/// `None` if nothing can match.
fn filter(query: &Query, slug: &str) -> Result<Option<SnapshotFilter>, ApiError> {
    let source_sandbox_id = match query.first("sandboxID").map(str::parse::<SandboxId>) {
        Some(Err(_)) => return Ok(None),
        Some(Ok(id)) => Some(id),
        None => None,
    };
    let name = query.first("name").map(QualifiedName::parse).transpose();
    let name = name.map_err(|error| ApiError::bad_request(error.to_string()))?;
    if name.as_ref().is_some_and(|name| name.namespace.as_deref().is_some_and(|found| found != slug)) {
        return Ok(None);
    }
    Ok(Some(SnapshotFilter { source_sandbox_id, name: name.map(|name| name.name) }))
}
