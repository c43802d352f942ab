//! Pressure stall information: how long processes waited for a resource.

/// Time in which somebody waited, by what for.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pressures {
    /// For CPU.
    pub cpu: Option<Pressure>,
    /// For memory.
    pub memory: Option<Pressure>,
    /// For I/O.
    pub io: Option<Pressure>,
}

/// Stalls: somebody waited ([`some`](Self::some)), or everybody did ([`full`](Self::full)).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pressure {
    /// At least one process waited.
    pub some: Stall,
    /// All processes waited at once.
    pub full: Option<Stall>,
}

/// Share of time lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stall {
    /// Percent of the last 10 seconds.
    pub avg10_pct: f64,
    /// Percent of the last minute.
    pub avg60_pct: f64,
    /// Percent of the last five minutes.
    pub avg300_pct: f64,
    /// Since the set was made, in microseconds.
    pub total_usec: u64,
}

/// Time in which processes waited for one thing, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stalled {
    /// At least one did.
    pub some_usec: u64,
    /// All did at once.
    pub full_usec: Option<u64>,
}
