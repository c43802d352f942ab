use clap::{Args, Subcommand};

use super::{ServerArgs, key_value};

#[derive(Debug, Subcommand)]
pub enum WebhookCommand {
    /// List webhooks, oldest first
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show one webhook and how deliveries to it have been going
    Info {
        /// Webhook id
        id: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Register a webhook and print its id
    Create(Box<CreateWebhookArgs>),
    /// Change what is given of a webhook, or enable one that was disabled
    Update(Box<UpdateWebhookArgs>),
    /// Delete a webhook
    Delete {
        /// Webhook id
        id: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Send a webhook a made-up event and show how that went
    Test {
        /// Webhook id
        id: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show attempts, newest first, or one of them
    Deliveries {
        /// Webhook id
        id: String,
        /// Only this one, with request and answer
        delivery: Option<String>,
        /// Only those that failed
        #[arg(long)]
        failed: bool,
        /// How many, 1 to 100
        #[arg(long, default_value_t = 25)]
        limit: u32,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show how deliveries went over the last day
    Stats {
        /// Webhook id
        id: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show what ran out of attempts, oldest event first
    DeadLetters {
        /// Webhook id
        id: String,
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
        server: ServerArgs,
    },
    /// Send everything that never arrived again, or everything there was
    Replay {
        /// Webhook id
        id: String,
        /// Everything the webhook wants, not only what never arrived
        #[arg(long)]
        all: bool,
        /// From this time on (RFC 3339)
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Up to this time (RFC 3339)
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Events per second at most
        #[arg(long, value_name = "N")]
        rate: Option<u32>,
        /// Do not wait for its end
        #[arg(long)]
        detach: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List replays, newest first
    Replays {
        /// Webhook id
        id: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// End a replay that is under way
    CancelReplay {
        /// Webhook id
        id: String,
        /// Replay id
        replay: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Draw a new secret and print it; the old one counts for a while longer
    RotateSecret {
        /// Webhook id
        id: String,
        /// For how long, in seconds
        #[arg(long, default_value_t = 86_400)]
        overlap: u32,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Forward events to a local URL as they happen, signed as webhooks are: no public address needed
    Listen {
        /// Where to: plain HTTP
        #[arg(long, value_name = "URL")]
        forward_to: String,
        /// Of these types only
        #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
        types: Vec<String>,
        /// Of this sandbox only
        #[arg(long, value_name = "ID")]
        sandbox: Option<String>,
        /// What to sign with; drawn and printed where not given
        #[arg(long, env = "SANDSCOPE_WEBHOOK_SECRET", hide_env_values = true)]
        secret: Option<String>,
        #[command(flatten)]
        server: ServerArgs,
    },
}

#[derive(Debug, Args)]
pub struct CreateWebhookArgs {
    /// Where events go
    pub url: String,
    /// What people call it
    #[arg(long, default_value = "webhook")]
    pub name: String,
    /// Event types, for example killed or sandbox.lifecycle.killed; all of sandboxes' lives where not given
    #[arg(long = "event", value_name = "TYPE", value_delimiter = ',')]
    pub events: Vec<String>,
    /// What deliveries are signed with; drawn and printed where not given
    #[arg(long, env = "SANDSCOPE_WEBHOOK_SECRET", hide_env_values = true)]
    pub secret: Option<String>,
    /// Further options, as the API takes them, for example 'ordering="strict"' or maxInFlight=16
    #[arg(long = "option", value_name = "KEY=JSON", value_parser = key_value)]
    pub options: Vec<(String, String)>,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[derive(Debug, Args)]
pub struct UpdateWebhookArgs {
    /// Webhook id
    pub id: String,
    /// Where events go
    #[arg(long)]
    pub url: Option<String>,
    /// What people call it
    #[arg(long)]
    pub name: Option<String>,
    /// Event types, instead of those it has
    #[arg(long = "event", value_name = "TYPE", value_delimiter = ',')]
    pub events: Vec<String>,
    /// Deliver to it, from now on
    #[arg(long, conflicts_with = "disable")]
    pub enable: bool,
    /// Deliver nothing to it
    #[arg(long)]
    pub disable: bool,
    /// Further options, as the API takes them, for example 'ordering="strict"' or maxInFlight=16
    #[arg(long = "option", value_name = "KEY=JSON", value_parser = key_value)]
    pub options: Vec<(String, String)>,
    #[command(flatten)]
    pub server: ServerArgs,
}
