use clap::{Args, Subcommand};

use super::{FormatArgs, ServerArgs};

#[derive(Debug, Subcommand)]
pub enum AlertCommand {
    /// List what fires, the oldest first
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
    /// Make a rule and print its id; it holds at once
    Create {
        /// What people call it
        name: String,
        #[command(flatten)]
        rule: RuleArgs,
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Change what is given of a rule; what it fired resolves
    Update {
        /// The rule's id, from `alert rules`
        id: String,
        /// What people call it
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        rule: RuleArgs,
        #[command(flatten)]
        format: FormatArgs,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Delete a rule; what it fired resolves
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
    /// What it looks at: cpuPct, memPct, diskPct, processes, oomKills, outOfMemory, crashes, vcpuHours, cost,
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
    /// Seconds for which either must last
    #[arg(long = "for", value_name = "SECONDS")]
    pub for_s: Option<u32>,
    /// Seconds over which is counted
    #[arg(long = "within", value_name = "SECONDS")]
    pub within_s: Option<u32>,
    /// What has a number of its own: sandbox, template, metadata.<key>, team or webhook
    #[arg(long)]
    pub by: Option<String>,
}
