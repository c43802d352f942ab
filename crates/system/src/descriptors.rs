use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit of open files to what this process may have: each sandbox takes some twenty descriptors
/// of the server's, and the usual soft limit is 1024.
pub fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "cannot raise the limit of open files; it bounds the number of sandboxes");
        }
    }
}
