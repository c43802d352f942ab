//! What happened to a sandbox, as a line of its log.

use std::fmt::Write as _;

use sandscope_model::{
    Death, EventDraft, ExitStatus, Fact, KillReason, LogEntry, LogLevel, LogSource, Update,
};

/// `None` for what does not happen to sandboxes.
pub(crate) fn entry(event: &EventDraft) -> Option<LogEntry> {
    let (level, message) = sentence(&event.fact)?;
    Some(LogEntry {
        at: event.timestamp,
        level,
        source: LogSource::Server,
        pid: None,
        event_type: Some(event.event_type()),
        message,
    })
}

fn sentence(fact: &Fact) -> Option<(LogLevel, String)> {
    Some(match fact {
        Fact::Created => (LogLevel::Info, "sandbox created".to_owned()),
        Fact::Paused { .. } => (LogLevel::Info, "sandbox paused".to_owned()),
        Fact::Resumed => (LogLevel::Info, "sandbox resumed".to_owned()),
        // Clients that keep a sandbox alive do that every few seconds.
        Fact::Updated(Update::TimeoutMoved { end_at }) => {
            (LogLevel::Debug, format!("sandbox updated: it times out at {end_at:.3}"))
        }
        Fact::Checkpointed { snapshot } => (LogLevel::Info, format!("snapshot {snapshot} taken")),
        Fact::Killed(death) => killed(death),
        Fact::OutOfMemory(kills) => {
            (LogLevel::Warn, format!("out of memory: {} processes killed", kills.n_new))
        }
        Fact::Webhook { .. } | Fact::Alert { .. } => return None,
    })
}

fn killed(death: &Death) -> (LogLevel, String) {
    let level = match death.reason {
        KillReason::Request | KillReason::Timeout | KillReason::Admin | KillReason::Elsewhere => {
            LogLevel::Info
        }
        _ => LogLevel::Error,
    };
    let mut message = format!("sandbox killed: {}", death.reason.as_str());
    // Writing to a String cannot fail.
    if let Some(exit) = &death.exit {
        let _ = match exit.status {
            Some(ExitStatus::Code(code)) => write!(message, ", exit code {code}"),
            Some(ExitStatus::Signal(signal)) => write!(message, ", signal {signal}"),
            None => Ok(()),
        };
        if let Some(n) = exit.n_oom_kills.filter(|n| *n > 0) {
            let _ = write!(message, ", {n} OOM kills");
        }
    }
    if let Some(execution) = &death.execution {
        let ms = execution.execution_time_ms;
        let _ = write!(message, ", after {}.{:03} s", ms / 1000, ms % 1000);
    }
    (level, message)
}

#[cfg(test)]
mod tests {
    use sandscope_model::{EventType, Exit, SandboxRef, Timestamp};

    use super::*;

    #[test]
    fn a_death_says_why() {
        let exit = Exit { status: Some(ExitStatus::Signal(9)), n_oom_kills: Some(2), ..Exit::default() };
        let death = Death { exit: Some(exit), ..Death::of(KillReason::Oom) };
        let line = sentence(&Fact::Killed(death));
        assert_eq!(line, Some((LogLevel::Error, "sandbox killed: oom, signal 9, 2 OOM kills".to_owned())));
        assert_eq!(sentence(&Fact::Killed(Death::of(KillReason::Timeout))).unwrap().0, LogLevel::Info);
    }

    #[test]
    fn every_event_of_a_sandbox_has_its_line() {
        let uuid = uuid::Uuid::from_u128;
        let sandbox = SandboxRef {
            id: "i00000000000000000001".parse().unwrap(),
            execution_id: uuid(2).into(),
            template_id: "t0000000000000000001".parse().unwrap(),
            build_id: uuid(3).into(),
            metadata: [].into(),
        };
        for kind in EventType::ALL {
            let ids = (uuid(1).into(), uuid(4).into());
            let event = EventDraft::example(kind, ids, sandbox.clone(), Timestamp::UNIX_EPOCH);
            let entry = entry(&event);
            assert_eq!(entry.is_none(), kind.is_operational());
            assert!(entry.is_none_or(|entry| entry.event_type == Some(kind)));
        }
    }
}
