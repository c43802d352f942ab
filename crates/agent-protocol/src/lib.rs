//! The envd protocol: Connect framing, process and filesystem messages, REST shapes, signatures.
