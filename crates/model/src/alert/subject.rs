//! What an alert is about.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{EventDraft, SandboxId, TemplateId, WebhookId};

/// Longest key and value of a label that has a number of its own; what is longer is not looked at.
const MAX_LABEL: usize = 256;

/// What has a number of its own under a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AlertBy {
    /// Each sandbox.
    Sandbox,
    /// Each base template.
    Template,
    /// Each value of this label.
    Label(String),
    /// The team.
    Team,
    /// Each webhook.
    Webhook,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AlertSubject {
    /// A sandbox.
    Sandbox(SandboxId),
    /// All sandboxes of a base template.
    Template(TemplateId),
    /// All sandboxes whose label `.0` is `.1`.
    Label(String, String),
    /// All sandboxes of the team.
    Team,
    /// A webhook.
    Webhook(WebhookId),
}

/// The text names no subject, or nothing that subjects are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be sandbox, template, metadata.<key>, team or webhook")]
pub struct MalformedSubject;

impl AlertBy {
    /// Whose number an event counts to; none if it has no such label.
    pub fn subject(&self, event: &EventDraft) -> Option<AlertSubject> {
        match self {
            Self::Sandbox => Some(AlertSubject::Sandbox(event.sandbox_id.clone())),
            Self::Template => Some(AlertSubject::Template(event.template_id.clone())),
            Self::Label(key) => {
                let value = event.data.sandbox_metadata.get(key)?;
                (value.len() <= MAX_LABEL).then(|| AlertSubject::Label(key.clone(), value.clone()))
            }
            Self::Team => Some(AlertSubject::Team),
            Self::Webhook => None,
        }
    }
}

impl fmt::Display for AlertBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sandbox => f.write_str("sandbox"),
            Self::Template => f.write_str("template"),
            Self::Label(key) => write!(f, "metadata.{key}"),
            Self::Team => f.write_str("team"),
            Self::Webhook => f.write_str("webhook"),
        }
    }
}

impl FromStr for AlertBy {
    type Err = MalformedSubject;

    fn from_str(text: &str) -> Result<Self, MalformedSubject> {
        match text {
            "sandbox" => Ok(Self::Sandbox),
            "template" => Ok(Self::Template),
            "team" => Ok(Self::Team),
            "webhook" => Ok(Self::Webhook),
            _ => match text.strip_prefix("metadata.") {
                // Subjects are written `metadata.key=value`.
                Some(key) if (1..=MAX_LABEL).contains(&key.len()) && !key.contains('=') => {
                    Ok(Self::Label(key.to_owned()))
                }
                _ => Err(MalformedSubject),
            },
        }
    }
}

impl fmt::Display for AlertSubject {
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

impl FromStr for AlertSubject {
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

macro_rules! as_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = MalformedSubject;

            fn try_from(text: String) -> Result<Self, MalformedSubject> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    };
}

as_text!(AlertBy);
as_text!(AlertSubject);

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
            assert_eq!(text.parse::<AlertSubject>().unwrap().to_string(), text);
        }
        for text in ["sandbox", "template", "metadata.user id", "team", "webhook"] {
            assert_eq!(text.parse::<AlertBy>().unwrap().to_string(), text);
        }
        for bad in ["", "sandbox:", "sandbox:x", "node:1", "metadata.env"] {
            assert_eq!(bad.parse::<AlertSubject>(), Err(MalformedSubject), "{bad}");
        }
        for bad in ["", "metadata.", "metadata.a=b", "Team", "sandboxes"] {
            assert_eq!(bad.parse::<AlertBy>(), Err(MalformedSubject), "{bad}");
        }
    }
}
