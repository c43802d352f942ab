//! The time, as the wire counts it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whole seconds since 1970.
pub(crate) fn unix_seconds() -> i64 {
    i64::try_from(elapsed().as_secs()).unwrap_or(i64::MAX)
}

/// Microseconds since 1970.
pub(crate) fn unix_microseconds() -> i64 {
    i64::try_from(elapsed().as_micros()).unwrap_or(i64::MAX)
}

/// Zero where the clock says a time before 1970.
fn elapsed() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
