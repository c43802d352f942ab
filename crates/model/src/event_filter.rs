//! Which events somebody wants: one meaning for the history, the stream and the command line.

use crate::{Event, EventType, KillReason, SandboxId, TemplateId, Timestamp};

/// Conditions on events; all of them must hold. The default wants every event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only this sandbox's.
    pub sandbox_id: Option<SandboxId>,
    /// Only these types; empty means every type.
    pub types: Vec<EventType>,
    /// Only kills for these reasons; empty means any event.
    pub reasons: Vec<KillReason>,
    /// Only those of sandboxes of this base template.
    pub template_id: Option<TemplateId>,
    /// Only those of sandboxes with all of these labels.
    pub metadata: Vec<(String, String)>,
    /// Only those that happened at this time or later.
    pub start: Option<Timestamp>,
    /// Only those that happened before this time.
    pub end: Option<Timestamp>,
}

impl EventFilter {
    /// Whether `event` is wanted.
    pub fn matches(&self, event: &Event) -> bool {
        let labels = event.metadata();
        self.sandbox_id.as_ref().is_none_or(|id| event.sandbox_id() == Some(id))
            && self.wants_type(event.event_type())
            && (self.reasons.is_empty()
                || event.kill_reason().is_some_and(|reason| self.reasons.contains(&reason)))
            && self.template_id.as_ref().is_none_or(|id| event.template_id() == Some(id))
            && self.metadata.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.start.is_none_or(|start| event.timestamp >= start)
            && self.end.is_none_or(|end| event.timestamp < end)
    }

    fn wants_type(&self, event_type: EventType) -> bool {
        self.types.is_empty() || self.types.contains(&event_type)
    }

    /// Whether no event whatsoever can be wanted: only kills have a reason.
    pub fn is_impossible(&self) -> bool {
        let wants_kills = self.types.is_empty() || self.types.contains(&EventType::Killed);
        let no_time = matches!((self.start, self.end), (Some(start), Some(end)) if start >= end);
        no_time || (!self.reasons.is_empty() && !wants_kills)
    }
}
