//! What a data directory must hold before anybody can use it: a team, its key, the shipped templates.

use sandscope_model::{
    Build, BuildId, Clock, Entropy, Rootfs, Secret, Team, TeamId, Template, TemplateId, TemplateKind,
};
use sandscope_store::{Facts, FirstTeam, NewApiKey, StoreError};

use sandscope_config::Config;
use sandscope_model::keys;

/// Templates that come with the server. Both start from the host's programs.
const SHIPPED: [&str; 2] = ["base", "code-interpreter-v1"];

/// Makes what is missing. Returns the first team's key if it was just made.
///
/// What is there is only read: a server whose disk is full starts all the same and serves what it can.
pub(crate) async fn prepare(
    facts: &Facts,
    config: &Config,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<Option<Secret>, StoreError> {
    let first = facts.teams().await?.into_iter().next();
    let (team, key) = match first {
        Some(team) => {
            follow_limits(facts, &team, config).await;
            (team, None)
        }
        None => make_first_team(facts, config, clock, entropy).await?,
    };
    for name in SHIPPED {
        if facts.resolve_template(team.id, name).await?.is_none() {
            ship_template(facts, name, config, clock, entropy).await?;
        }
    }
    Ok(key)
}

async fn make_first_team(
    facts: &Facts,
    config: &Config,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<(Team, Option<Secret>), StoreError> {
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
    match facts.ensure_first_team(team, NewApiKey { key, hash }).await? {
        FirstTeam::Created(team) => {
            tracing::info!(team_id = %team.id, "made the first team and its key");
            Ok((team, Some(text)))
        }
        FirstTeam::Existing(team) => Ok((team, None)),
    }
}

async fn follow_limits(facts: &Facts, team: &Team, config: &Config) {
    if team.limits == config.team {
        return;
    }
    match facts.set_team_limits(team.id, config.team).await {
        Ok(_) => tracing::info!(team_id = %team.id, "the first team's limits follow the configuration"),
        Err(error) => tracing::error!(
            team_id = %team.id,
            error = &error as &dyn std::error::Error,
            "the first team keeps its old limits",
        ),
    }
}

async fn ship_template(
    facts: &Facts,
    name: &str,
    config: &Config,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<(), StoreError> {
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
    facts.ensure_template(template, build).await
}
