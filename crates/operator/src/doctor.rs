//! `sandscope doctor`: says in words what is wrong with this host, and how to mend it, beside a running server as well as
//! without one. It looks, and makes one sandbox for real, of which nothing stays.

mod data;
mod host;
mod trial;

use std::process::ExitCode;

use sandscope_engine_namespaces::linux::HostProblem;
use serde_json::json;

use crate::arguments::DoctorArgs;
use sandscope_config::Config;
use sandscope_console::output::{self, Paint};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    Fine,
    /// Works, but not as well or not for as many sandboxes as it could.
    Warning,
    /// Sandboxes cannot be made or kept.
    Problem,
}

impl Severity {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Check {
    name: &'static str,
    severity: Severity,
    /// What was found.
    says: String,
    /// What to do about it.
    fix: Option<String>,
}

impl Check {
    fn fine(name: &'static str, says: impl Into<String>) -> Self {
        Self { name, severity: Severity::Fine, says: says.into(), fix: None }
    }

    fn warning(name: &'static str, says: impl Into<String>, fix: &str) -> Self {
        Self { name, severity: Severity::Warning, says: says.into(), fix: Some(fix.to_owned()) }
    }

    fn problem(name: &'static str, says: impl Into<String>, fix: &str) -> Self {
        Self { name, severity: Severity::Problem, says: says.into(), fix: Some(fix.to_owned()) }
    }

    fn of(name: &'static str, problem: Option<HostProblem>, fine: impl Into<String>) -> Self {
        match problem {
            Some(problem) => Self::problem(name, problem.what, &problem.fix),
            None => Self::fine(name, fine),
        }
    }
}

/// Checks everything and reports; success if nothing keeps sandboxes from being made and kept.
pub(crate) async fn run(arguments: DoctorArgs) -> anyhow::Result<ExitCode> {
    let config = Config::resolve(arguments.settings.with_environment())?;
    let looked_at = config.clone();
    let mut checks = tokio::task::spawn_blocking(move || {
        let mut checks = host::checks();
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
