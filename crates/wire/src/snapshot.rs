//! Snapshots as answered.

use sandscope_model::Template;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A snapshot: something sandboxes can be created from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SnapshotInfo {
    /// What create takes as `templateID`, and `DELETE /templates/{id}` as id.
    #[serde(rename = "snapshotID")]
    pub snapshot_id: String,
    /// Its names with namespace and tag; empty if it has none.
    pub names: Vec<String>,
}

impl SnapshotInfo {
    /// How the snapshot `template` with `tag`, of the team with `slug`, is answered.
    pub fn new(template: &Template, slug: &str, tag: &str) -> Self {
        match &template.name {
            Some(name) => {
                let full = format!("{slug}/{name}:{tag}");
                Self { snapshot_id: full.clone(), names: vec![full] }
            }
            None => Self { snapshot_id: format!("{}:{tag}", template.id), names: Vec::new() },
        }
    }
}
