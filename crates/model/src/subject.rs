//! What an event, or an alert, is about.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{BuildId, ExecutionId, SandboxId, TemplateId, WebhookId};

/// A sandbox at the time of an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SandboxRef {
    /// The sandbox's id.
    pub id: SandboxId,
    /// During which execution; between two of them the last one.
    pub execution_id: ExecutionId,
    /// Its base template.
    pub template_id: TemplateId,
    /// The build it was made from.
    pub build_id: BuildId,
    /// Its labels; none where they do not matter.
    pub metadata: BTreeMap<String, String>,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A sandbox.
    Sandbox(SandboxRef),
    /// All sandboxes of a base template.
    Template(TemplateId),
    /// All sandboxes whose label `.0` is `.1`.
    Label(String, String),
    /// All that the team has.
    Team,
    /// A webhook.
    Webhook(WebhookId),
}

/// By what a [`Subject`] is known, over all of its life.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SubjectKey {
    /// A sandbox.
    Sandbox(SandboxId),
    /// All sandboxes of a base template.
    Template(TemplateId),
    /// All sandboxes whose label `.0` is `.1`.
    Label(String, String),
    /// The team.
    Team,
    /// A webhook.
    Webhook(WebhookId),
}

impl SandboxRef {
    /// The same without its labels: how notices name a sandbox that they are not about.
    #[must_use]
    pub fn without_labels(&self) -> Self {
        Self {
            id: self.id.clone(),
            execution_id: self.execution_id,
            template_id: self.template_id.clone(),
            build_id: self.build_id,
            metadata: BTreeMap::new(),
        }
    }
}

impl Subject {
    /// By what it is known.
    pub fn key(&self) -> SubjectKey {
        match self {
            Self::Sandbox(sandbox) => SubjectKey::Sandbox(sandbox.id.clone()),
            Self::Template(id) => SubjectKey::Template(id.clone()),
            Self::Label(key, value) => SubjectKey::Label(key.clone(), value.clone()),
            Self::Team => SubjectKey::Team,
            Self::Webhook(id) => SubjectKey::Webhook(*id),
        }
    }

    /// The sandbox, if it is one.
    pub const fn sandbox(&self) -> Option<&SandboxRef> {
        match self {
            Self::Sandbox(sandbox) => Some(sandbox),
            Self::Template(_) | Self::Label(..) | Self::Team | Self::Webhook(_) => None,
        }
    }

    /// The base template: it, or the sandbox's.
    pub const fn template_id(&self) -> Option<&TemplateId> {
        match self {
            Self::Sandbox(sandbox) => Some(&sandbox.template_id),
            Self::Template(id) => Some(id),
            Self::Label(..) | Self::Team | Self::Webhook(_) => None,
        }
    }
}

/// The text names no subject, or nothing that distinguishes subjects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be sandbox, template, metadata.<key>, team or webhook")]
pub struct MalformedSubject;

impl fmt::Display for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sandbox(id) => write!(f, "sandbox:{id}"),
            Self::Template(id) => write!(f, "template:{id}"),
            Self::Label(key, value) => write!(f, "metadata.{key}={value}"),
            Self::Team => f.write_str("team"),
            Self::Webhook(id) => write!(f, "webhook:{id}"),
        }
    }
}

impl FromStr for SubjectKey {
    type Err = MalformedSubject;

    fn from_str(text: &str) -> Result<Self, MalformedSubject> {
        if text == "team" {
            return Ok(Self::Team);
        }
        if let Some((key, value)) = text.strip_prefix("metadata.").and_then(|rest| rest.split_once('=')) {
            return Ok(Self::Label(key.to_owned(), value.to_owned()));
        }
        let found = match text.split_once(':') {
            Some(("sandbox", id)) => id.parse().ok().map(Self::Sandbox),
            Some(("template", id)) => id.parse().ok().map(Self::Template),
            Some(("webhook", id)) => id.parse().ok().map(Self::Webhook),
            _ => None,
        };
        found.ok_or(MalformedSubject)
    }
}

impl TryFrom<String> for SubjectKey {
    type Error = MalformedSubject;

    fn try_from(text: String) -> Result<Self, MalformedSubject> {
        text.parse()
    }
}

impl From<SubjectKey> for String {
    fn from(key: SubjectKey) -> Self {
        key.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in [
            "sandbox:i00000000000000000001",
            "template:rki5dems9wqfm4r03t7g",
            "metadata.env=a=b:c",
            "metadata.env=",
            "team",
            "webhook:00000000-0000-4000-8000-000000000001",
        ] {
            assert_eq!(text.parse::<SubjectKey>().unwrap().to_string(), text);
        }
        for bad in ["", "sandbox:", "sandbox:x", "node:1", "metadata.env"] {
            assert_eq!(bad.parse::<SubjectKey>(), Err(MalformedSubject), "{bad}");
        }
    }
}
