//! `GET /nodes` and `/nodes/{id}`: the machine, for operators.

use crate::json::Json;
use axum::extract::State;
use sandscope_wire::node::{CLUSTER_ID, NodeView};

use crate::admin::Admin;
use crate::error::ApiError;
use crate::query::Query;
use crate::segments::{NodePath, echo};
use crate::{App, paths};

const BAD_CLUSTER: &str = "clusterID must be a UUID";

/// The machines: this one.
#[utoipa::path(
    get,
    path = paths::NODES,
    tag = "admin",
    params(("clusterID" = Option<uuid::Uuid>, Query, description = "Only those of this cluster; there is one")),
    responses((status = 200, description = "The machines", body = [NodeView]))
)]
pub(crate) async fn list_nodes(
    State(app): State<App>,
    _: Admin,
    query: Query,
) -> Result<Json<Vec<NodeView>>, ApiError> {
    Ok(Json(if is_of_cluster(&query)? { vec![(app.node)()] } else { Vec::new() }))
}

/// One machine.
#[utoipa::path(
    get,
    path = paths::NODE,
    tag = "admin",
    params(
        ("nodeID" = String, Path),
        ("clusterID" = Option<uuid::Uuid>, Query, description = "Its cluster; there is one"),
    ),
    responses((status = 200, description = "The machine", body = NodeView))
)]
pub(crate) async fn get_node(
    State(app): State<App>,
    _: Admin,
    NodePath(id): NodePath,
    query: Query,
) -> Result<Json<NodeView>, ApiError> {
    let node = (app.node)();
    if is_of_cluster(&query)? && node.id == id {
        Ok(Json(node))
    } else {
        Err(ApiError::not_found(format!("Node \"{}\" not found", echo(&id))))
    }
}

fn is_of_cluster(query: &Query) -> Result<bool, ApiError> {
    let Some(text) = query.first("clusterID") else { return Ok(true) };
    let id: uuid::Uuid = text.parse().map_err(|_| ApiError::bad_request(BAD_CLUSTER))?;
    Ok(id.to_string() == CLUSTER_ID)
}
