//! Who caused a transition: kept with the intent while it is carried out, and reported by the event it ends in.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::ApiKeyId;

/// Who caused a transition, and through which request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The key of the request, or the part of the server.
    pub actor: Actor,
    /// The id of the request in the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Box<str>>,
    /// From where the request came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_address: Option<IpAddr>,
}

/// Who acts on sandboxes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Actor {
    /// Whoever holds this API key.
    ApiKey {
        /// The key's public handle.
        id: ApiKeyId,
        /// What the key was called at that time; earlier versions did not record it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<Box<str>>,
    },
    /// The server itself.
    System {
        /// Which part of it.
        component: Component,
    },
}

/// A part of the server that acts on sandboxes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// The sandbox's time was up.
    Timeout,
    /// Traffic woke the sandbox.
    Traffic,
    /// The engine saw the sandbox end, or could not go on with it.
    Runtime,
    /// A start of the server found out what had happened, or finished what nobody is known to have asked for.
    Recovery,
    /// The running server found store and host in disagreement.
    Reconciler,
    /// Anything else the server does without being asked.
    Server,
}

impl Component {
    /// The wire's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Traffic => "traffic",
            Self::Runtime => "runtime",
            Self::Recovery => "recovery",
            Self::Reconciler => "reconciler",
            Self::Server => "server",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Origin {
    /// The server itself, unasked.
    pub const fn system(component: Component) -> Self {
        Self { actor: Actor::System { component }, request_id: None, remote_address: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_reads_back_and_leaves_out_what_is_not_known() {
        let id = ApiKeyId::from(uuid::Uuid::from_u128(1));
        let asked = |name: Option<&str>| Origin {
            actor: Actor::ApiKey { id, name: name.map(Into::into) },
            request_id: Some("r-1".into()),
            remote_address: Some([192, 0, 2, 1].into()),
        };
        for (origin, text) in [
            (
                asked(Some("ci")),
                r#"{"actor":{"type":"api_key","id":"00000000-0000-0000-0000-000000000001","name":"ci"},"request_id":"r-1","remote_address":"192.0.2.1"}"#,
            ),
            // As earlier versions wrote it.
            (
                asked(None),
                r#"{"actor":{"type":"api_key","id":"00000000-0000-0000-0000-000000000001"},"request_id":"r-1","remote_address":"192.0.2.1"}"#,
            ),
            (Origin::system(Component::Timeout), r#"{"actor":{"type":"system","component":"timeout"}}"#),
        ] {
            assert_eq!(serde_json::to_string(&origin).unwrap(), text);
            assert_eq!(serde_json::from_str::<Origin>(text).unwrap(), origin);
        }
    }
}
