//! What has a number of its own under a rule.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{EventDraft, MalformedSubject, Subject};

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

impl AlertBy {
    /// What an event counts for; nothing if it is about no sandbox, or one without such a label.
    pub fn subject(&self, event: &EventDraft) -> Option<Subject> {
        let Subject::Sandbox(sandbox) = &event.subject else { return None };
        match self {
            Self::Sandbox => Some(event.subject.clone()),
            Self::Template => Some(Subject::Template(sandbox.template_id.clone())),
            Self::Label(key) => {
                let value = sandbox.metadata.get(key)?;
                (value.len() <= MAX_LABEL).then(|| Subject::Label(key.clone(), value.clone()))
            }
            Self::Team => Some(Subject::Team),
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

impl TryFrom<String> for AlertBy {
    type Error = MalformedSubject;

    fn try_from(text: String) -> Result<Self, MalformedSubject> {
        text.parse()
    }
}

impl From<AlertBy> for String {
    fn from(by: AlertBy) -> Self {
        by.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["sandbox", "template", "metadata.user id", "team", "webhook"] {
            assert_eq!(text.parse::<AlertBy>().unwrap().to_string(), text);
        }
        for bad in ["", "metadata.", "metadata.a=b", "Team", "sandboxes"] {
            assert_eq!(bad.parse::<AlertBy>(), Err(MalformedSubject), "{bad}");
        }
    }
}
