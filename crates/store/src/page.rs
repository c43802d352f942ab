//! Parts of lists.

/// In which direction a list runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    #[default]
    Desc,
}

impl Order {
    pub(crate) const fn sql(self) -> &'static str {
        match self {
            Self::Asc => "ASC",
            Self::Desc => "DESC",
        }
    }

    /// The comparison that leaves what comes after a position.
    pub(crate) const fn after(self) -> &'static str {
        match self {
            Self::Asc => ">",
            Self::Desc => "<",
        }
    }
}

/// A part of a list: what follows `after`, `limit` entries at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<K> {
    /// The position of the last entry already seen; `None` starts at the beginning.
    pub after: Option<K>,
    /// Entries at most.
    pub limit: u32,
}
