//! The endpoints, each in its file: what it refuses, its documentation, what it does.

mod alert_rules;
mod alerts_list;
mod api_keys_create;
mod api_keys_delete;
mod api_keys_list;
mod api_keys_rename;
mod events_list;
mod events_state;
mod events_stream;
mod health;
mod next_token;
mod nodes;
mod sandbox_connect;
mod sandbox_create;
mod sandbox_details;
mod sandbox_events;
mod sandbox_get;
mod sandbox_kill;
mod sandbox_logs;
mod sandbox_metrics;
mod sandbox_metrics_stream;
mod sandbox_pause;
mod sandbox_processes;
mod sandbox_refresh;
mod sandbox_resume;
mod sandbox_snapshot;
mod sandbox_timeline;
mod sandbox_timeout;
mod sandboxes_list;
mod sandboxes_list_v2;
mod sandboxes_metrics;
mod sandboxes_metrics_stream;
mod snapshots_list;
mod team_metrics;
mod teams_list;
mod template_alias;
mod template_delete;
mod template_get;
mod templates_list;
mod usage;
mod webhook_create;
mod webhook_dead_letters;
mod webhook_deliveries;
mod webhook_delivery;
mod webhook_get;
mod webhook_options;
mod webhook_remove;
mod webhook_replays;
mod webhook_secret;
mod webhook_stats;
mod webhook_test;
mod webhook_update;
mod webhooks_list;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::{App, openapi};

/// Every endpoint, with its documentation.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::frame())
        .routes(routes!(health::health))
        .routes(routes!(sandboxes_list::list_sandboxes, sandbox_create::create_sandbox))
        .routes(routes!(sandboxes_list_v2::list_sandboxes_v2, sandbox_create::create_sandbox_v2))
        .routes(routes!(sandboxes_metrics::get_sandboxes_metrics))
        .routes(routes!(sandbox_get::get_sandbox, sandbox_kill::kill_sandbox))
        .routes(routes!(sandbox_metrics::get_sandbox_metrics))
        .routes(routes!(sandbox_logs::get_sandbox_logs))
        .routes(routes!(sandbox_logs::get_sandbox_logs_v2))
        .routes(routes!(sandbox_metrics_stream::stream_sandbox_metrics))
        .routes(routes!(sandboxes_metrics_stream::stream_sandboxes_metrics))
        .routes(routes!(alerts_list::list_alerts))
        .routes(routes!(alert_rules::list_alert_rules, alert_rules::create_alert_rule))
        .routes(routes!(
            alert_rules::get_alert_rule,
            alert_rules::update_alert_rule,
            alert_rules::delete_alert_rule
        ))
        .routes(routes!(nodes::list_nodes))
        .routes(routes!(nodes::get_node))
        .routes(routes!(team_metrics::get_team_metrics))
        .routes(routes!(team_metrics::get_team_metrics_max))
        .routes(routes!(sandbox_details::get_sandbox_details))
        .routes(routes!(sandbox_processes::list_sandbox_processes))
        .routes(routes!(sandbox_pause::pause_sandbox))
        .routes(routes!(sandbox_resume::resume_sandbox))
        .routes(routes!(sandbox_connect::connect_sandbox))
        .routes(routes!(sandbox_connect::connect_sandbox_v2))
        .routes(routes!(sandbox_timeout::set_sandbox_timeout))
        .routes(routes!(sandbox_refresh::refresh_sandbox))
        .routes(routes!(sandbox_snapshot::create_snapshot))
        .routes(routes!(snapshots_list::list_snapshots))
        .routes(routes!(templates_list::list_templates))
        .routes(routes!(templates_list::list_templates_v2))
        .routes(routes!(templates_list::list_default_templates))
        .routes(routes!(template_get::get_template, template_delete::delete_template))
        .routes(routes!(template_alias::get_template_alias))
        .routes(routes!(teams_list::list_teams))
        .routes(routes!(api_keys_list::list_api_keys, api_keys_create::create_api_key))
        .routes(routes!(api_keys_rename::rename_api_key, api_keys_delete::delete_api_key))
        .routes(routes!(events_list::list_events))
        .routes(routes!(events_stream::stream_events))
        .routes(routes!(events_state::get_states))
        .routes(routes!(sandbox_timeline::get_timeline))
        .routes(routes!(usage::get_usage))
        .routes(routes!(sandbox_events::list_sandbox_events))
        .routes(routes!(webhooks_list::list_webhooks, webhook_create::create_webhook))
        .routes(routes!(
            webhook_get::get_webhook,
            webhook_update::update_webhook,
            webhook_remove::delete_webhook
        ))
        .routes(routes!(webhook_deliveries::list_webhook_deliveries))
        .routes(routes!(webhook_delivery::get_webhook_delivery))
        .routes(routes!(webhook_delivery::resend_webhook_delivery))
        .routes(routes!(webhook_dead_letters::list_webhook_dead_letters))
        .routes(routes!(webhook_replays::list_webhook_replays, webhook_replays::create_webhook_replay))
        .routes(routes!(webhook_replays::get_webhook_replay, webhook_replays::cancel_webhook_replay))
        .routes(routes!(webhook_secret::change_webhook_secret))
        .routes(routes!(webhook_test::test_webhook))
        .routes(routes!(webhook_stats::get_webhook_stats))
}
