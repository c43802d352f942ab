//! Bounds of the pairs a client attaches to a sandbox.
//!
//! Labels are copied into each event of a sandbox and from there into lists, streams and deliveries: what is unbounded here
//! would be a hundred times that everywhere else. Clients put identifiers and small JSON texts there, some kilobytes in all.

use std::collections::BTreeMap;

use crate::error::ApiError;

/// Pairs of one kind, at most.
const MAX_PAIRS: usize = 128;
/// Names and values of a sandbox's labels together.
pub(crate) const MAX_METADATA_BYTES: usize = 16 * 1024;
/// Names and values of a sandbox's environment together. The kernel takes 128 KiB for one string of it.
pub(crate) const MAX_ENV_BYTES: usize = 128 * 1024;

/// Refuses more than 128 pairs, or more than `max_bytes` of them.
pub(crate) fn check(what: &str, pairs: &BTreeMap<String, String>, max_bytes: usize) -> Result<(), ApiError> {
    let n_bytes: usize = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if pairs.len() > MAX_PAIRS {
        let n = pairs.len();
        return Err(ApiError::bad_request(format!("{what}: must be at most {MAX_PAIRS} pairs, not {n}")));
    }
    if n_bytes > max_bytes {
        let message =
            format!("{what}: names and values must be at most {max_bytes} bytes together, not {n_bytes}");
        return Err(ApiError::bad_request(message));
    }
    Ok(())
}
