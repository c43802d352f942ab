//! What happened to a sandbox, as a line of its log.

use std::fmt::Write as _;

use sandscope_model::{EventDraft, EventType, ExitStatus, KillReason, LogEntry, LogLevel, LogSource};

/// `None` for what does not happen to sandboxes.
pub(crate) fn entry(event: &EventDraft) -> Option<LogEntry> {
    let (level, message) = tell(event)?;
    Some(LogEntry {
        at: event.timestamp,
        level,
        source: LogSource::Server,
        pid: None,
        event_type: Some(event.event_type),
        message,
    })
}

fn tell(event: &EventDraft) -> Option<(LogLevel, String)> {
    let data = &event.data;
    Some(match event.event_type {
        EventType::Created => (LogLevel::Info, "sandbox created".to_owned()),
        EventType::Paused => (LogLevel::Info, "sandbox paused".to_owned()),
        EventType::Resumed => (LogLevel::Info, "sandbox resumed".to_owned()),
        // Clients that keep a sandbox alive do that every few seconds.
        EventType::Updated => {
            let until = data.set_timeout.map(|at| format!(": it times out at {at:.3}"));
            (LogLevel::Debug, format!("sandbox updated{}", until.unwrap_or_default()))
        }
        EventType::Checkpointed => {
            let of = data.snapshot_template_id.as_ref().map(|id| format!(" {id}"));
            (LogLevel::Info, format!("snapshot{} taken", of.unwrap_or_default()))
        }
        EventType::Killed => killed(event),
        EventType::OutOfMemory => {
            let n = data.oom_kills.map_or(0, |kills| kills.n_new);
            (LogLevel::Warn, format!("out of memory: {n} processes killed"))
        }
        EventType::AlertFiring
        | EventType::AlertResolved
        | EventType::WebhookLagging
        | EventType::WebhookDisabled
        | EventType::WebhookRecovered
        | EventType::WebhookExhausted => return None,
    })
}

fn killed(event: &EventDraft) -> (LogLevel, String) {
    let level = match event.data.kill_reason {
        Some(KillReason::Request | KillReason::Timeout | KillReason::Admin) => LogLevel::Info,
        _ => LogLevel::Error,
    };
    let mut message = "sandbox killed".to_owned();
    // Writing to a String cannot fail.
    if let Some(reason) = event.data.kill_reason {
        let _ = write!(message, ": {}", reason.as_str());
    }
    if let Some(exit) = &event.data.exit {
        let _ = match exit.status {
            Some(ExitStatus::Code(code)) => write!(message, ", exit code {code}"),
            Some(ExitStatus::Signal(signal)) => write!(message, ", signal {signal}"),
            None => Ok(()),
        };
        if let Some(n) = exit.n_oom_kills.filter(|n| *n > 0) {
            let _ = write!(message, ", {n} OOM kills");
        }
    }
    if let Some(execution) = &event.data.execution {
        let ms = execution.execution_time_ms;
        let _ = write!(message, ", after {}.{:03} s", ms / 1000, ms % 1000);
    }
    (level, message)
}

#[cfg(test)]
mod tests {
    use sandscope_model::{EventData, Exit, Timestamp};

    use super::*;

    fn event(event_type: EventType, data: EventData) -> EventDraft {
        EventDraft {
            id: uuid::Uuid::from_u128(1).into(),
            event_type,
            data,
            sandbox_id: "i00000000000000000001".parse().unwrap(),
            execution_id: uuid::Uuid::from_u128(2).into(),
            template_id: "t0000000000000000001".parse().unwrap(),
            build_id: uuid::Uuid::from_u128(3).into(),
            team_id: uuid::Uuid::from_u128(4).into(),
            timestamp: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_death_says_why() {
        let exit = Exit { status: Some(ExitStatus::Signal(9)), n_oom_kills: Some(2), ..Exit::default() };
        let data = EventData { kill_reason: Some(KillReason::Oom), exit: Some(exit), ..EventData::default() };
        let told = tell(&event(EventType::Killed, data));
        assert_eq!(told, Some((LogLevel::Error, "sandbox killed: oom, signal 9, 2 OOM kills".to_owned())));
        let data = EventData { kill_reason: Some(KillReason::Timeout), ..EventData::default() };
        assert_eq!(tell(&event(EventType::Killed, data)).unwrap().0, LogLevel::Info);
    }

    #[test]
    fn every_event_of_a_sandbox_has_its_line() {
        for event_type in EventType::ALL {
            let entry = entry(&event(event_type, EventData::default()));
            assert_eq!(entry.is_none(), event_type.is_operational());
            assert!(entry.is_none_or(|entry| entry.event_type == Some(event_type)));
        }
    }
}
