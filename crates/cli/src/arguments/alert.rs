use clap::{Args, Subcommand};

use super::{FormatArgs, ServerArgs};

#[derive(Debug, Subcommand)]
pub enum AlertCommand {
    /// List firing alerts, the oldest first
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List the rules: the operator's, then the team's own
    Rules {
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Create a rule and print its id; it applies at once
    Create {
        /// Name of the rule
        name: String,
        #[command(flatten)]
        rule: RuleArgs,
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Update the given fields of a rule; its firing alerts resolve
    Update {
        /// The rule's id, from `alert rules`
        id: String,
        /// Name of the rule
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        rule: RuleArgs,
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Delete a rule; its firing alerts resolve
    Delete {
        /// The rule's id, from `alert rules`
        id: String,
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// What a rule says.
#[derive(Debug, Args)]
pub struct RuleArgs {
    /// Metric: cpuPct, memPct, diskPct, processes, oomKills, outOfMemory, crashes, vcpuHours, cost,
    /// webhookFailingS or webhookBehind
    #[arg(long)]
    pub metric: Option<String>,
    /// Fires at this value or above
    #[arg(long, value_name = "VALUE", conflicts_with = "below")]
    pub above: Option<f64>,
    /// Fires at this value or below
    #[arg(long, value_name = "VALUE")]
    pub below: Option<f64>,
    /// Resolves beyond this value [default: the threshold]
    #[arg(long, value_name = "VALUE")]
    pub clear: Option<f64>,
    /// Seconds that the condition must last, to fire and to resolve
    #[arg(long = "for", value_name = "SECONDS")]
    pub for_s: Option<u32>,
    /// Window in seconds over which events are counted
    #[arg(long = "within", value_name = "SECONDS")]
    pub within_s: Option<u32>,
    /// One alert for each: sandbox, template, metadata.<key>, team or webhook
    #[arg(long)]
    pub by: Option<String>,
}
