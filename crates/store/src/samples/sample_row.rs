//! A sample as a row of the open hour: the first release's fields have a column each, all others are in one blob.
//!
//! So a new field needs no migration: a column for each would need one for each, and would be `NULL` in almost every
//! row. The blob is pairs of variable-length numbers: a field's id, and its value plus one. 0 in place of a value takes
//! back what a column says, because columns cannot be empty.

use sandscope_model::{MetricField, Values};
use sandscope_sample_blocks::varint::{put, take};

use crate::StoreError;
use crate::sqlite::row::{Cells, integer};

/// Fields that have a column, in the order of [`COLUMNS`].
const WITH_COLUMN: [MetricField; 7] = {
    use MetricField as F;
    [F::CpuUsed, F::CpuCount, F::MemUsed, F::MemTotal, F::MemCache, F::DiskUsed, F::DiskTotal]
};

pub(crate) const COLUMNS: &str = "at, cpu_used_centi_pct, cpu_count, mem_used_bytes, mem_total_bytes, mem_cache_bytes, \
     disk_used_bytes, disk_total_bytes, more";

/// The columns' values, and the blob if it holds anything.
pub(crate) fn encode(values: &Values) -> ([i64; 7], Option<Vec<u8>>) {
    let mut more = Vec::new();
    for field in MetricField::ALL {
        let has_column = WITH_COLUMN.contains(field);
        match values.get(*field) {
            Some(number) if !has_column => {
                put(&mut more, field.id().into());
                put(&mut more, number.saturating_add(1));
            }
            None if has_column => {
                put(&mut more, field.id().into());
                put(&mut more, 0);
            }
            _ => {}
        }
    }
    let columns = WITH_COLUMN.map(|field| integer(values.get(field).unwrap_or(0)));
    (columns, (!more.is_empty()).then_some(more))
}

/// When, and what; fields that only another version knows are passed over.
pub(crate) fn decode(cells: &mut Cells<'_, '_>) -> Result<(i64, Values), StoreError> {
    let at = cells.plain("at")?;
    let mut values = Values::NONE;
    for field in WITH_COLUMN {
        values.set(field, cells.number::<u64>(field.entry().name)?);
    }
    cells.mapped("more", |more: Option<Vec<u8>>| add(&mut values, &more.unwrap_or_default()))?;
    Ok((at, values))
}

fn add(values: &mut Values, mut more: &[u8]) -> Option<()> {
    while !more.is_empty() {
        let (id, number) = (take(&mut more)?, take(&mut more)?);
        if let Some(field) = MetricField::of_id(id) {
            values.set(field, number.checked_sub(1));
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(columns: [i64; 7], more: &[u8]) -> Option<Values> {
        let numbers = columns.map(|number| u64::try_from(number).unwrap());
        let mut values = WITH_COLUMN.into_iter().zip(numbers).collect();
        add(&mut values, more).map(|()| values)
    }

    proptest! {
        #[test]
        fn a_row_holds_whatever_a_sample_holds(
            numbers in proptest::collection::vec(any::<Option<u32>>(), MetricField::COUNT),
        ) {
            let pairs = MetricField::ALL.iter().zip(numbers);
            let values: Values = pairs.filter_map(|(field, n)| Some((*field, n?.into()))).collect();
            let (columns, more) = encode(&values);
            prop_assert_eq!(read(columns, &more.unwrap_or_default()), Some(values));
        }

        #[test]
        fn a_damaged_blob_is_no_panic(more in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = read([0; 7], &more);
        }
    }

    #[test]
    fn a_field_of_another_version_is_passed_over() {
        assert_eq!(read([1; 7], &[100, 8, 26, 4]).unwrap().get(MetricField::OomKills), Some(3));
        assert_eq!(read([1; 7], &[26]), None, "cut");
    }
}
