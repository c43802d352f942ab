/// Time in which processes waited for one thing, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stalled {
    /// At least one did.
    pub some_usec: u64,
    /// All did at once.
    pub full_usec: Option<u64>,
}
