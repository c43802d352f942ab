//! What every request about files has in common.

use super::refusal::of_connect;
use crate::body::Refusal;
use crate::paths;
use crate::settings::Settings;
use crate::user::User;

/// Files in one request.
pub(super) const MAX_FILES: usize = 10_000;

/// The absolute path that `path` means to `user`.
pub(super) fn resolve(settings: &Settings, user: &User, path: &str) -> Result<String, Refusal> {
    paths::resolve(path, user, settings.workdir(user)).map_err(of_connect)
}
