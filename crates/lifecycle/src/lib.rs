//! One driver task per sandbox: requests, transitions, timeouts, recovery.
