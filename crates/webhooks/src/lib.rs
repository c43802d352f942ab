//! Per-webhook cursors over the event log, deliverer, attempts, signatures, egress guard.
