//! `sandscope doctor`: says in words what is wrong with this host, and how to mend it, beside a running server as well as
//! without one. It looks, and makes one sandbox for real, of which nothing stays.

mod check;
mod data;
mod host;
mod trial;

use std::process::ExitCode;

use serde_json::json;

use crate::arguments::DoctorArgs;
use check::{Check, Severity};
use sandscope_config::Config;
use sandscope_console::output::{self, Paint};

/// Checks everything and reports; success if nothing keeps sandboxes from being made and kept.
pub(crate) async fn run(arguments: DoctorArgs) -> anyhow::Result<ExitCode> {
    let config = Config::resolve(arguments.settings.with_environment())?;
    let looked_at = config.clone();
    let mut checks = tokio::task::spawn_blocking(move || {
        let mut checks = host::checks(&looked_at);
        checks.extend(data::checks(&looked_at));
        checks
    })
    .await?;
    checks.push(trial::check(&config, &checks).await);
    print(&checks, arguments.json)?;
    let is_well = checks.iter().all(|check| check.severity != Severity::Problem);
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(checks: &[Check], as_json: bool) -> std::io::Result<()> {
    let n_of = |severity| checks.iter().filter(|check| check.severity == severity).count();
    let (n_problems, n_warnings) = (n_of(Severity::Problem), n_of(Severity::Warning));
    if as_json {
        let check = |check: &Check| {
            json!({
                "name": check.name,
                "status": check.severity.as_str(),
                "says": check.says,
                "fix": check.fix,
            })
        };
        return output::line(json!({
            "well": n_problems == 0,
            "problems": n_problems,
            "warnings": n_warnings,
            "checks": checks.iter().map(check).collect::<Vec<_>>(),
        }));
    }
    let paint = Paint::for_stdout();
    for check in checks {
        let mark = match check.severity {
            Severity::Fine => paint.green("ok     "),
            Severity::Warning => paint.cyan("warning"),
            Severity::Problem => paint.red("PROBLEM"),
        };
        output::line(format_args!("{mark}  {}: {}", paint.bold(check.name), check.says))?;
        if let Some(fix) = &check.fix {
            output::line(format_args!("         fix: {fix}"))?;
        }
    }
    let counted = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    output::line(format_args!("{}, {}", counted(n_problems, "problem"), counted(n_warnings, "warning")))
}
