/// How the disk stands that an engine keeps sandboxes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskStanding {
    /// Free for ordinary programs.
    pub free_bytes: u64,
    /// Its size.
    pub total_bytes: u64,
    /// What the engine keeps free.
    pub reserve_bytes: u64,
    /// Whether so little is left that sandboxes may take nothing more, and none is made.
    pub is_short: bool,
    /// Sandboxes that stand still until there is room.
    pub n_held: u64,
    /// How often what a sandbox had in memory could not be written out: what was in it is lost.
    pub n_lost: u64,
    /// How often it has been looked at, with all that followed.
    pub n_looks: u64,
}
