//! Paths as clients write them, for a user.

use sandscope_agent_protocol::{Code, ConnectError, paths};

use crate::user::User;

pub(crate) use sandscope_agent_protocol::paths::name;

/// The absolute path that `path` means to `user`, without `.`, `..` and doubled slashes.
pub(crate) fn resolve(path: &str, user: &User, workdir: &str) -> Result<String, ConnectError> {
    paths::resolve(path, &user.home, workdir)
        .map_err(|error| ConnectError::new(Code::InvalidArgument, error.to_string()))
}
