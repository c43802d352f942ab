//! What the server said at `/init`, and what follows from it for a caller.

use std::collections::BTreeMap;

use sandscope_agent_protocol::{Code, ConnectError};

use crate::user::{User, UserError};

/// What `/init` said.
pub(crate) struct Settings {
    pub(crate) access_token: Option<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) default_user: String,
    pub(crate) default_workdir: Option<String>,
    pub(crate) limits: Limits,
}

/// What the sandbox may use, as far as the server said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) cpu_count: Option<u32>,
    pub(crate) memory_bytes: Option<u64>,
}

impl Settings {
    /// The user called `name`, or the default one where no name is given. Reads the sandbox's `/etc/passwd`.
    pub(crate) fn user(&self, name: Option<&str>) -> Result<User, ConnectError> {
        let name = name.filter(|name| !name.is_empty()).unwrap_or(&self.default_user);
        crate::user::find(name).map_err(|error| {
            let code = match error {
                UserError::Unknown(_) | UserError::Id { .. } => Code::Unauthenticated,
                UserError::Unreadable(_) => Code::Internal,
            };
            ConnectError::new(code, error.to_string())
        })
    }

    /// Where `user`'s processes start that name no directory.
    pub(crate) fn workdir<'a>(&'a self, user: &'a User) -> &'a str {
        match &self.default_workdir {
            Some(workdir) if user.name == self.default_user && !workdir.is_empty() => workdir,
            _ => &user.home,
        }
    }
}
