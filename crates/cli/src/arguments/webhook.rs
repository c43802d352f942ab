use clap::{Args, Subcommand};

use sandscope_model::Timestamp;

use super::{FormatArgs, ServerArgs, key_value, moment};

#[derive(Debug, Subcommand)]
pub enum WebhookCommand {
    /// List webhooks, oldest first
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show one webhook and the state of its deliveries
    Info {
        /// Webhook id
        id: String,
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Register a webhook and print its id
    Create(Box<CreateWebhookArgs>),
    /// Update a webhook, or re-enable it
    Update(Box<UpdateWebhookArgs>),
    /// Delete a webhook
    Delete {
        /// Webhook id
        id: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Send a test event to a webhook and show the result
    Test {
        /// Webhook id
        id: String,
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show attempts, newest first, or one of them
    Deliveries {
        /// Webhook id
        id: String,
        /// Only this attempt, with request and answer
        delivery: Option<String>,
        /// Only failed attempts
        #[arg(long)]
        failed: bool,
        /// Number of attempts to show, 1 to 100
        #[arg(long, default_value_t = 25)]
        limit: u32,
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show delivery counts and durations of the last day
    Stats {
        /// Webhook id
        id: String,
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List exhausted deliveries, oldest event first
    DeadLetters {
        /// Webhook id
        id: String,
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Send the event of one attempt again
    Resend {
        /// Webhook id
        id: String,
        /// The attempt's id
        delivery: String,
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Send undelivered events again, or all events
    Replay {
        /// Webhook id
        id: String,
        /// All events that the webhook subscribes to, not only undelivered ones
        #[arg(long)]
        all: bool,
        /// Only events since then: RFC 3339, seconds since 1970, or an age (10m, 1h30m, 2d)
        #[arg(long, value_name = "WHEN", value_parser = moment)]
        since: Option<Timestamp>,
        /// Only events before then
        #[arg(long, value_name = "WHEN", value_parser = moment)]
        until: Option<Timestamp>,
        /// Maximum events per second
        #[arg(long, value_name = "N")]
        rate: Option<u32>,
        /// Do not wait until the replay ends
        #[arg(long)]
        detach: bool,
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List replays, newest first
    Replays {
        /// Webhook id
        id: String,
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Cancel a running replay
    CancelReplay {
        /// Webhook id
        id: String,
        /// Replay id
        replay: String,
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Rotate the secret and print the new one; both sign during the overlap
    RotateSecret {
        /// Webhook id
        id: String,
        /// Overlap in seconds
        #[arg(long, default_value_t = 86_400)]
        overlap: u32,
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Forward live events to a local URL, signed like deliveries; needs no public address
    Listen {
        /// Local URL, plain HTTP
        #[arg(long, value_name = "URL")]
        forward_to: String,
        /// Only these types
        #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
        types: Vec<String>,
        /// Only events of this sandbox
        #[arg(long, value_name = "ID")]
        sandbox: Option<String>,
        /// Signature secret [default: generated and printed]
        #[arg(long, env = "SANDSCOPE_WEBHOOK_SECRET", hide_env_values = true)]
        secret: Option<String>,
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
}

#[derive(Debug, Args)]
pub struct CreateWebhookArgs {
    /// URL that events are sent to
    pub url: String,
    /// Name of the webhook
    #[arg(long, default_value = "webhook")]
    pub name: String,
    /// Event types, for example killed or sandbox.lifecycle.killed [default: all lifecycle types]
    #[arg(long = "event", value_name = "TYPE", value_delimiter = ',')]
    pub events: Vec<String>,
    /// Signature secret [default: generated and printed]
    #[arg(long, env = "SANDSCOPE_WEBHOOK_SECRET", hide_env_values = true)]
    pub secret: Option<String>,
    /// Further options, as the API takes them, for example 'ordering="strict"' or maxInFlight=16
    #[arg(long = "option", value_name = "KEY=JSON", value_parser = key_value)]
    pub options: Vec<(String, String)>,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, Args)]
pub struct UpdateWebhookArgs {
    /// Webhook id
    pub id: String,
    /// URL that events are sent to
    #[arg(long)]
    pub url: Option<String>,
    /// Name of the webhook
    #[arg(long)]
    pub name: Option<String>,
    /// Event types that replace the current ones
    #[arg(long = "event", value_name = "TYPE", value_delimiter = ',')]
    pub events: Vec<String>,
    /// Enable the webhook, from now on
    #[arg(long, conflicts_with = "disable")]
    pub enable: bool,
    /// Disable the webhook
    #[arg(long)]
    pub disable: bool,
    /// Further options, as the API takes them, for example 'ordering="strict"' or maxInFlight=16
    #[arg(long = "option", value_name = "KEY=JSON", value_parser = key_value)]
    pub options: Vec<(String, String)>,
    #[command(flatten)]
    pub format: FormatArgs,
    #[command(flatten)]
    pub server: ServerArgs,
}
