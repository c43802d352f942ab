//! What a data directory must hold before anybody can use it: a team, its key, the shipped templates.

use sandscope_model::{
    Build, BuildId, Clock, Entropy, Rootfs, Secret, Team, TeamId, Template, TemplateId, TemplateKind,
};
use sandscope_store::{FirstTeam, NewApiKey, Store, StoreError};

use crate::config::Config;
use crate::keys;

/// Templates that come with the server. Both start from the host's programs.
const SHIPPED: [&str; 2] = ["base", "code-interpreter-v1"];

/// Makes what is missing. Returns the first team's key if it was just made.
pub(crate) async fn prepare(
    store: &Store,
    config: &Config,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<Option<Secret>, StoreError> {
    let key = first_team(store, config, clock, entropy).await?;
    for name in SHIPPED {
        let now = clock.now();
        let template = Template {
            id: TemplateId::generate(entropy),
            team_id: None,
            name: Some(name.to_owned()),
            kind: TemplateKind::Template,
            created_at: now,
        };
        let build = Build {
            id: BuildId::generate(entropy),
            template_id: template.id.clone(),
            rootfs: Rootfs::Host,
            vcpu_count: config.sandbox.vcpu_count,
            memory_mb: config.sandbox.memory_mb,
            disk_mb: config.sandbox.disk_mb,
            source_sandbox_id: None,
            created_at: now,
        };
        store.ensure_template(template, build).await?;
    }
    Ok(key)
}

async fn first_team(
    store: &Store,
    config: &Config,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<Option<Secret>, StoreError> {
    let now = clock.now();
    let team = Team {
        id: TeamId::generate(entropy),
        name: "Default".to_owned(),
        slug: "default".to_owned(),
        limits: config.team,
        created_at: now,
    };
    let text = config.server.first_api_key.clone().unwrap_or_else(|| keys::draw(entropy));
    let keys::FreshKey { text, key, hash } = keys::describe(text, team.id, "first key", now, entropy);
    match store.ensure_first_team(team, NewApiKey { key, hash }).await? {
        FirstTeam::Created(team) => {
            tracing::info!(team_id = %team.id, "made the first team and its key");
            Ok(Some(text))
        }
        FirstTeam::Existing(team) if team.limits == config.team => Ok(None),
        FirstTeam::Existing(team) => {
            store.set_team_limits(team.id, config.team).await?;
            tracing::info!(team_id = %team.id, "the first team's limits follow the configuration");
            Ok(None)
        }
    }
}
