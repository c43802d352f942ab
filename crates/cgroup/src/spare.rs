use std::sync::OnceLock;

use rustix::process::{Resource, getrlimit};

/// Open files a process has to be allowed before what is read seldom is kept open: two for each of the most sandboxes
/// that a host is measured with, beside the some twenty that each needs anyway.
const PLENTY: u64 = 65_536;

/// Whether this process may open so many files that those that are read seldom can stay open: opening one costs several
/// times what reading it does, but a descriptor that is missing costs a sandbox. Decided once, so raise the limit before.
pub fn has_spare_descriptors() -> bool {
    static DECIDED: OnceLock<bool> = OnceLock::new();
    *DECIDED.get_or_init(|| is_plenty(getrlimit(Resource::Nofile).current))
}

/// `None` is no limit.
fn is_plenty(limit: Option<u64>) -> bool {
    limit.is_none_or(|limit| limit >= PLENTY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_open_only_where_none_can_be_missing() {
        assert!(is_plenty(None));
        assert!(is_plenty(Some(PLENTY)));
        assert!(!is_plenty(Some(PLENTY - 1)));
    }
}
