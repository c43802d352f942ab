//! Columns of numbers as bytes: what all rows share is written once, the rest is left to a numeric compressor.
//!
//! ```text
//!   2 (1 byte) │ number of columns │ number of rows │ per column: slot │ 0, the value all rows share
//!                                                                      │ 1, length, compressed numbers
//!                                                                      │ 2, length, compressed numbers plus one; 0: none
//! ```
//!
//! A slot says what a column is; one that is not known is passed over, one that is not there has no value in any row.
//! So a later version may write more, and an earlier one may have written less. Version 1 had no slots and no rows
//! without a value: its columns were known by their place.
//!
//! Numbers of the format itself are variable-length (seven bits a byte).

use pco::ChunkConfig;
use pco::standalone::{simple_compress, simple_decompress};

use crate::varint::{put, take};

const PLACED: u8 = 1;
const SLOTTED: u8 = 2;
const SHARED: u8 = 0;
const COMPRESSED: u8 = 1;
const GAPPED: u8 = 2;
/// More rows and columns than any block has: a damaged number cannot make us reserve memory.
const MAX_ROWS: u64 = 1 << 20;
const MAX_COLUMNS: u64 = 1 << 10;

/// One column as read.
#[derive(Debug, PartialEq, Eq)]
enum Column {
    Shared(u64),
    Full(Vec<u64>),
    /// Each number is one more than the value; 0 stands for none.
    Gapped(Vec<u64>),
}

/// The columns of a block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    n_rows: usize,
    columns: Vec<(u64, Column)>,
}

/// One column of [`Columns`], or none at all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot<'a>(Option<&'a Column>);

impl Slot<'_> {
    pub(crate) const fn is_there(self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn get(self, row: usize) -> Option<u64> {
        match self.0? {
            Column::Shared(value) => Some(*value),
            Column::Full(values) => values.get(row).copied(),
            Column::Gapped(values) => values.get(row)?.checked_sub(1),
        }
    }
}

impl Columns {
    pub(crate) const fn n_rows(&self) -> usize {
        self.n_rows
    }

    pub(crate) fn slot(&self, slot: u64) -> Slot<'_> {
        Slot(self.columns.iter().find(|(found, _)| *found == slot).map(|(_, column)| column))
    }
}

/// `None` if the columns cannot be compressed. A column without any value is left out.
pub(crate) fn encode(n_rows: usize, columns: &[(u64, Vec<Option<u64>>)]) -> Option<Vec<u8>> {
    let written = || columns.iter().filter(|(_, column)| column.iter().any(Option::is_some));
    let mut bytes = vec![SLOTTED];
    put(&mut bytes, u64::try_from(written().count()).ok()?);
    put(&mut bytes, u64::try_from(n_rows).ok()?);
    for (slot, column) in written() {
        if column.len() != n_rows {
            return None;
        }
        put(&mut bytes, *slot);
        let shared = column.first().copied().flatten();
        if let Some(shared) = shared.filter(|_| column.windows(2).all(|two| two[0] == two[1])) {
            bytes.push(SHARED);
            put(&mut bytes, shared);
            continue;
        }
        let full: Option<Vec<u64>> = column.iter().copied().collect();
        let (kind, numbers) = match full {
            Some(full) => (COMPRESSED, full),
            None => (GAPPED, column.iter().map(|value| value.map_or(0, |n| n.saturating_add(1))).collect()),
        };
        let compressed = simple_compress(&numbers, &ChunkConfig::default()).ok()?;
        bytes.push(kind);
        put(&mut bytes, u64::try_from(compressed.len()).ok()?);
        bytes.extend_from_slice(&compressed);
    }
    Some(bytes)
}

/// `None` if the bytes are not what [`encode`] writes, and not what version 1 wrote of columns in the order `placed`.
pub(crate) fn decode(bytes: &[u8], placed: &[u64]) -> Option<Columns> {
    let (version, mut rest) = bytes.split_first()?;
    let (n_columns, n_rows) = (take(&mut rest)?, take(&mut rest)?);
    let is_known = match *version {
        PLACED => n_columns == u64::try_from(placed.len()).ok()?,
        SLOTTED => n_columns <= MAX_COLUMNS,
        _ => false,
    };
    if !is_known || n_rows > MAX_ROWS {
        return None;
    }
    let mut decoded = Columns { n_rows: usize::try_from(n_rows).ok()?, columns: Vec::new() };
    for index in 0..usize::try_from(n_columns).ok()? {
        let slot = if *version == SLOTTED { take(&mut rest)? } else { *placed.get(index)? };
        let (kind, after) = rest.split_first()?;
        rest = after;
        let number = take(&mut rest)?;
        if *kind == SHARED {
            decoded.columns.push((slot, Column::Shared(number)));
            continue;
        }
        let (compressed, after) = rest.split_at_checked(usize::try_from(number).ok()?)?;
        rest = after;
        // A later version may have further kinds: they have a length as well.
        if matches!(*kind, COMPRESSED | GAPPED) {
            let numbers: Vec<u64> = simple_decompress(compressed).ok()?;
            if numbers.len() != decoded.n_rows {
                return None;
            }
            let column = if *kind == GAPPED { Column::Gapped(numbers) } else { Column::Full(numbers) };
            decoded.columns.push((slot, column));
        } else if *version == PLACED {
            return None;
        }
    }
    rest.is_empty().then_some(decoded)
}

#[cfg(test)]
#[path = "columns_tests.rs"]
mod tests;
