//! One thing that doctor looked at.

use sandscope_engine_namespaces::linux::HostProblem;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    Fine,
    /// Works, but not as well or not for as many sandboxes as it could.
    Warning,
    /// Sandboxes cannot be made or kept.
    Problem,
}

impl Severity {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) severity: Severity,
    /// What was found.
    pub(super) says: String,
    /// What to do about it.
    pub(super) fix: Option<String>,
}

impl Check {
    pub(super) fn fine(name: &'static str, says: impl Into<String>) -> Self {
        Self { name, severity: Severity::Fine, says: says.into(), fix: None }
    }

    pub(super) fn warning(name: &'static str, says: impl Into<String>, fix: &str) -> Self {
        Self { name, severity: Severity::Warning, says: says.into(), fix: Some(fix.to_owned()) }
    }

    pub(super) fn problem(name: &'static str, says: impl Into<String>, fix: &str) -> Self {
        Self { name, severity: Severity::Problem, says: says.into(), fix: Some(fix.to_owned()) }
    }

    pub(super) fn of(name: &'static str, problem: Option<HostProblem>, fine: impl Into<String>) -> Self {
        match problem {
            Some(problem) => Self::problem(name, problem.what, &problem.fix),
            None => Self::fine(name, fine),
        }
    }
}
