//! Every path, once.

pub(crate) const HEALTH: &str = "/health";
pub(crate) const OPENAPI: &str = "/openapi.json";

pub(crate) const SANDBOXES: &str = "/sandboxes";
pub(crate) const SANDBOXES_V2: &str = "/v2/sandboxes";
pub(crate) const SANDBOXES_METRICS: &str = "/sandboxes/metrics";
pub(crate) const SANDBOX: &str = "/sandboxes/{sandboxID}";
pub(crate) const SANDBOX_METRICS: &str = "/sandboxes/{sandboxID}/metrics";
pub(crate) const SANDBOX_LOGS: &str = "/sandboxes/{sandboxID}/logs";
pub(crate) const SANDBOX_LOGS_V2: &str = "/v2/sandboxes/{sandboxID}/logs";
pub(crate) const SANDBOX_DETAILS: &str = "/sandboxes/{sandboxID}/metrics/extended";
pub(crate) const SANDBOX_METRICS_STREAM: &str = "/sandboxes/{sandboxID}/metrics/stream";
pub(crate) const SANDBOXES_METRICS_STREAM: &str = "/sandboxes/metrics/stream";
pub(crate) const SANDBOX_PROCESSES: &str = "/sandboxes/{sandboxID}/processes";
pub(crate) const SANDBOX_PAUSE: &str = "/sandboxes/{sandboxID}/pause";
pub(crate) const SANDBOX_RESUME: &str = "/sandboxes/{sandboxID}/resume";
pub(crate) const SANDBOX_CONNECT: &str = "/sandboxes/{sandboxID}/connect";
pub(crate) const SANDBOX_CONNECT_V2: &str = "/v2/sandboxes/{sandboxID}/connect";
pub(crate) const SANDBOX_TIMEOUT: &str = "/sandboxes/{sandboxID}/timeout";
pub(crate) const SANDBOX_REFRESHES: &str = "/sandboxes/{sandboxID}/refreshes";
pub(crate) const SANDBOX_SNAPSHOTS: &str = "/sandboxes/{sandboxID}/snapshots";
pub(crate) const SNAPSHOTS: &str = "/snapshots";

pub(crate) const TEMPLATES: &str = "/templates";
pub(crate) const TEMPLATES_V2: &str = "/v2/templates";
pub(crate) const TEMPLATE: &str = "/templates/{templateID}";
pub(crate) const TEMPLATE_ALIAS: &str = "/templates/aliases/{alias}";
pub(crate) const DEFAULT_TEMPLATES: &str = "/default-templates";

pub(crate) const TEAMS: &str = "/teams";
pub(crate) const ALERTS: &str = "/alerts";
pub(crate) const ALERT_RULES: &str = "/alerts/rules";
pub(crate) const ALERT_RULE: &str = "/alerts/rules/{ruleID}";
pub(crate) const TEAM_METRICS: &str = "/teams/{teamID}/metrics";
pub(crate) const TEAM_METRICS_MAX: &str = "/teams/{teamID}/metrics/max";
pub(crate) const NODES: &str = "/nodes";
pub(crate) const NODE: &str = "/nodes/{nodeID}";
pub(crate) const API_KEYS: &str = "/api-keys";
pub(crate) const API_KEY: &str = "/api-keys/{apiKeyID}";

pub(crate) const EVENTS: &str = "/events/sandboxes";
pub(crate) const SANDBOX_EVENTS: &str = "/events/sandboxes/{sandboxID}";
pub(crate) const EVENT_STATE: &str = "/events/state";
pub(crate) const USAGE: &str = "/usage";
pub(crate) const SANDBOX_TIMELINE: &str = "/sandboxes/{sandboxID}/timeline";
pub(crate) const EVENT_STREAM: &str = "/events/stream";
pub(crate) const WEBHOOKS: &str = "/events/webhooks";
pub(crate) const WEBHOOK: &str = "/events/webhooks/{webhookID}";
pub(crate) const WEBHOOK_DELIVERIES: &str = "/events/webhooks/{webhookID}/deliveries";
pub(crate) const WEBHOOK_DELIVERY: &str = "/events/webhooks/{webhookID}/deliveries/{deliveryID}";
pub(crate) const WEBHOOK_RESEND: &str = "/events/webhooks/{webhookID}/deliveries/{deliveryID}/resend";
pub(crate) const WEBHOOK_DEAD_LETTERS: &str = "/events/webhooks/{webhookID}/dead-letters";
pub(crate) const WEBHOOK_REPLAYS: &str = "/events/webhooks/{webhookID}/replays";
pub(crate) const WEBHOOK_REPLAY: &str = "/events/webhooks/{webhookID}/replays/{replayID}";
pub(crate) const WEBHOOK_SECRET: &str = "/events/webhooks/{webhookID}/secret";
pub(crate) const WEBHOOK_TEST: &str = "/events/webhooks/{webhookID}/test";
pub(crate) const WEBHOOK_STATS: &str = "/events/webhooks/{webhookID}/stats";

/// What every path but `/health` and `/openapi.json` begins with.
const FIRST_SEGMENTS: [&str; 17] = [
    "sandboxes",
    "v2",
    "v3",
    "templates",
    "default-templates",
    "snapshots",
    "events",
    "alerts",
    "usage",
    "teams",
    "nodes",
    "api-keys",
    "access-tokens",
    "admin",
    "volumes",
    "volumecontent",
    "secrets",
];

/// Whether only the control plane can be meant by `path`. `/health` is also the agents'.
pub fn is_control_path(path: &str) -> bool {
    let mut segments = path.split('/').skip(1);
    segments.next().is_some_and(|first| FIRST_SEGMENTS.contains(&first))
}

/// What the original does not have.
pub(crate) const OWN: &[&str] = &[
    SANDBOX_DETAILS,
    SANDBOX_METRICS_STREAM,
    SANDBOXES_METRICS_STREAM,
    SANDBOX_PROCESSES,
    SANDBOX_TIMELINE,
    ALERTS,
    ALERT_RULES,
    ALERT_RULE,
    EVENT_STATE,
    EVENT_STREAM,
    USAGE,
    WEBHOOK_DEAD_LETTERS,
    WEBHOOK_REPLAYS,
    WEBHOOK_REPLAY,
    WEBHOOK_SECRET,
    WEBHOOK_TEST,
];

/// Operations of the original that this server does not have: they are routed, to be refused by name.
pub(crate) const NOT_IMPLEMENTED: &[(&str, &str)] = &[
    ("POST", "/sandboxes/{sandboxID}/fork"),
    ("PUT", "/sandboxes/{sandboxID}/network"),
    ("GET", "/sandboxes/{sandboxID}/record"),
    ("POST", "/templates"),
    ("POST", "/v2/templates"),
    ("POST", "/v3/templates"),
    ("POST", "/templates/{templateID}"),
    ("PATCH", "/templates/{templateID}"),
    ("PATCH", "/v2/templates/{templateID}"),
    ("GET", "/templates/{templateID}/files/{hash}"),
    ("POST", "/templates/{templateID}/builds/{buildID}"),
    ("POST", "/v2/templates/{templateID}/builds/{buildID}"),
    ("GET", "/templates/{templateID}/builds/{buildID}/status"),
    ("GET", "/templates/{templateID}/builds/{buildID}/logs"),
    ("POST", "/templates/tags"),
    ("DELETE", "/templates/tags"),
    ("GET", "/templates/{templateID}/tags"),
    ("GET", "/templates/{templateID}/tags/groups"),
    ("GET", "/templates/{templateID}/tags/count"),
    ("GET", "/templates/{templateID}/tags/exists"),
    ("GET", "/templates/{templateID}/tags/{tag}/assignments"),
    ("POST", "/nodes/{nodeID}"),
    ("POST", "/admin/teams/{teamID}/sandboxes/kill"),
    ("GET", "/admin/sandboxes/running-counts"),
    ("POST", "/admin/teams/{teamID}/builds/cancel"),
    ("POST", "/admin/teams/{teamID}/api-keys"),
    ("DELETE", "/admin/teams/{teamID}/api-keys/{apiKeyID}"),
    ("POST", "/access-tokens"),
    ("DELETE", "/access-tokens/{accessTokenID}"),
    ("GET", "/volumes"),
    ("POST", "/volumes"),
    ("GET", "/volumes/{volumeID}"),
    ("DELETE", "/volumes/{volumeID}"),
    ("GET", "/volumecontent/{volumeID}/file"),
    ("PUT", "/volumecontent/{volumeID}/file"),
    ("GET", "/volumecontent/{volumeID}/dir"),
    ("POST", "/volumecontent/{volumeID}/dir"),
    ("GET", "/volumecontent/{volumeID}/path"),
    ("PATCH", "/volumecontent/{volumeID}/path"),
    ("DELETE", "/volumecontent/{volumeID}/path"),
    ("GET", "/secrets"),
    ("POST", "/secrets"),
    ("GET", "/secrets/{secretID}"),
    ("POST", "/secrets/{secretID}"),
    ("DELETE", "/secrets/{secretID}"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_known_for_the_control_planes_and_none_of_the_agents_is() {
        let (_, api) = crate::endpoints::router().split_for_parts();
        let ours = api.paths.paths.keys().map(String::as_str);
        for path in ours.chain(NOT_IMPLEMENTED.iter().map(|(_, path)| *path)) {
            assert_eq!(is_control_path(path), path != HEALTH, "{path}");
        }
        let agents = [
            "/health",
            "/files",
            "/files/compose",
            "/metrics",
            "/envs",
            "/init",
            "/process.Process/Start",
            "/",
            "",
        ];
        for path in agents {
            assert!(!is_control_path(path), "{path}");
        }
    }
}
