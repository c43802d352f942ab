/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    /// Entries of one sandbox.
    pub max_entries: u32,
    /// Bytes of one sandbox's entries.
    pub max_bytes: u64,
    /// Bytes of all entries together.
    pub max_total_bytes: u64,
}

impl Default for LogBounds {
    fn default() -> Self {
        Self { max_entries: 20_000, max_bytes: 4 << 20, max_total_bytes: 1 << 30 }
    }
}
