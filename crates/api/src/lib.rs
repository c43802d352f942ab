//! The control plane over HTTP: one file per endpoint.
