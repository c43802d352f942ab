//! A stretch of a log, summed up: what it did to the number of running sandboxes, without looking at its events again.

/// What changed how many run: when, by how much, and whether a sandbox was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActivityChange {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// By how much.
    pub change: i32,
    /// Whether a sandbox was created.
    pub is_creation: bool,
}

/// Consecutive changes of a log, summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActivityBlock {
    /// When the first counts as having happened: no later than any that follows.
    pub first_ms: i64,
    /// When the last happened.
    pub last_ms: i64,
    /// By how much all together changed the number.
    pub change: i64,
    /// Sandboxes created.
    pub n_created: u32,
    /// The most that ran for a while between the first and the last, beyond how many run after the last, and since when;
    /// none if nothing lasted.
    pub peak: Option<(i64, i64)>,
}

impl ActivityBlock {
    /// Sums up `changes`, oldest first; `None` if there are none.
    pub fn of(changes: &[ActivityChange]) -> Option<Self> {
        let last = changes.last()?;
        let mut block =
            Self { first_ms: last.at_ms, last_ms: last.at_ms, change: 0, n_created: 0, peak: None };
        let mut beyond = 0;
        for change in changes.iter().rev() {
            // A clock that was set back does not turn the log around.
            let at_ms = change.at_ms.min(block.first_ms);
            // Of several times the earliest counts.
            if at_ms < block.first_ms && block.peak.is_none_or(|(most, _)| beyond >= most) {
                block.peak = Some((beyond, at_ms));
            }
            block.first_ms = at_ms;
            block.n_created = block.n_created.saturating_add(u32::from(change.is_creation));
            beyond -= i64::from(change.change);
        }
        block.change = -beyond;
        Some(block)
    }
}
