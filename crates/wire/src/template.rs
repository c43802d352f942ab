//! Templates as answered.

use sandscope_model::{Build, BuildId, Template as Model, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How far a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TemplateBuildStatus {
    /// Being built.
    Building,
    /// Waiting for its turn.
    Waiting,
    /// Sandboxes can start from it.
    Ready,
    /// It failed.
    Error,
}

/// A template in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// Its id.
    #[serde(rename = "templateID")]
    pub template_id: String,
    /// Its newest build.
    #[serde(rename = "buildID")]
    #[schema(value_type = uuid::Uuid)]
    pub build_id: BuildId,
    /// CPUs of its sandboxes.
    pub cpu_count: u32,
    /// Memory of its sandboxes, in MiB.
    #[serde(rename = "memoryMB")]
    pub memory_mb: u32,
    /// Size of its sandboxes' writable layer, in MiB.
    #[serde(rename = "diskSizeMB")]
    pub disk_size_mb: u32,
    /// Whether every team may use it.
    pub public: bool,
    /// Its names without namespace.
    #[schema(deprecated)]
    pub aliases: Vec<String>,
    /// Its names.
    pub names: Vec<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its newest build was made.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Nobody: keys belong to teams, not to users.
    #[schema(value_type = Option<Object>)]
    pub created_by: Option<serde_json::Value>,
    /// Not counted: `null`.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_spawned_at: Option<Timestamp>,
    /// Not counted: 0.
    pub spawn_count: u64,
    /// Builds known.
    pub build_count: u32,
    /// Version of the protocol its sandboxes' agent speaks.
    pub envd_version: String,
    /// How far its newest build is.
    pub build_status: TemplateBuildStatus,
}

impl Template {
    /// How `template`, seen by the team with `slug`, is listed.
    pub fn new(template: &Model, build: &Build, slug: &str, envd_version: &str) -> Self {
        Self {
            template_id: template.id.to_string(),
            build_id: build.id,
            cpu_count: build.vcpu_count,
            memory_mb: build.memory_mb,
            disk_size_mb: build.disk_mb,
            public: template.team_id.is_none(),
            aliases: template.name.iter().cloned().collect(),
            names: names(template, slug),
            created_at: template.created_at,
            updated_at: build.created_at,
            created_by: None,
            last_spawned_at: None,
            spawn_count: 0,
            build_count: 1,
            envd_version: envd_version.to_owned(),
            build_status: TemplateBuildStatus::Ready,
        }
    }
}

fn names(template: &Model, slug: &str) -> Vec<String> {
    let qualified = |name: &String| match template.team_id {
        Some(_) => format!("{slug}/{name}"),
        None => name.clone(),
    };
    template.name.iter().map(qualified).collect()
}

/// A template with its builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateWithBuilds {
    /// What the list shows.
    #[serde(flatten)]
    pub template: Template,
    /// Its builds, newest first.
    pub builds: Vec<TemplateBuild>,
}

impl TemplateWithBuilds {
    /// How `template`, seen by the team with `slug`, is answered.
    pub fn new(template: &Model, build: &Build, slug: &str, envd_version: &str) -> Self {
        Self {
            template: Template::new(template, build, slug, envd_version),
            builds: vec![TemplateBuild {
                build_id: build.id,
                status: TemplateBuildStatus::Ready,
                created_at: build.created_at,
                updated_at: build.created_at,
                finished_at: build.created_at,
                cpu_count: build.vcpu_count,
                memory_mb: build.memory_mb,
                disk_size_mb: build.disk_mb,
                envd_version: envd_version.to_owned(),
            }],
        }
    }
}

/// One build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateBuild {
    /// Its id.
    #[serde(rename = "buildID")]
    #[schema(value_type = uuid::Uuid)]
    pub build_id: BuildId,
    /// How far it is.
    pub status: TemplateBuildStatus,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// When it was done.
    #[schema(value_type = String, format = DateTime)]
    pub finished_at: Timestamp,
    /// CPUs of its sandboxes.
    pub cpu_count: u32,
    /// Memory of its sandboxes, in MiB.
    #[serde(rename = "memoryMB")]
    pub memory_mb: u32,
    /// Size of its sandboxes' writable layer, in MiB.
    #[serde(rename = "diskSizeMB")]
    pub disk_size_mb: u32,
    /// Version of the protocol its sandboxes' agent speaks.
    pub envd_version: String,
}

/// Who a name belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TemplateAlias {
    /// The template with that name.
    #[serde(rename = "templateID")]
    pub template_id: String,
    /// Whether every team may use it.
    pub public: bool,
}
