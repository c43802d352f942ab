//! Columns of numbers as bytes: what all rows share is written once, the rest is left to a numeric compressor.
//!
//! ```text
//!   version (1 byte) │ number of columns │ number of rows │ per column: 0, the value all rows share
//!                                                         │             1, length, compressed numbers
//! ```
//!
//! Numbers of the format itself are variable-length (seven bits a byte).

use pco::ChunkConfig;
use pco::standalone::{simple_compress, simple_decompress};

const VERSION: u8 = 1;
const SHARED: u8 = 0;
const COMPRESSED: u8 = 1;
/// More rows than any block has: a damaged number cannot make us reserve memory.
const MAX_ROWS: u64 = 1 << 20;

/// `None` if the columns differ in length or cannot be compressed.
pub(crate) fn encode(columns: &[Vec<u64>]) -> Option<Vec<u8>> {
    let n_rows = columns.first().map_or(0, Vec::len);
    let mut bytes = vec![VERSION];
    put(&mut bytes, u64::try_from(columns.len()).ok()?);
    put(&mut bytes, u64::try_from(n_rows).ok()?);
    for column in columns {
        if column.len() != n_rows {
            return None;
        }
        match column.first() {
            Some(first) if column.iter().any(|value| value != first) => {
                let compressed = simple_compress(column, &ChunkConfig::default()).ok()?;
                bytes.push(COMPRESSED);
                put(&mut bytes, u64::try_from(compressed.len()).ok()?);
                bytes.extend_from_slice(&compressed);
            }
            first => {
                bytes.push(SHARED);
                put(&mut bytes, first.copied().unwrap_or(0));
            }
        }
    }
    Some(bytes)
}

/// `None` if the bytes are not what [`encode`] writes.
pub(crate) fn decode(bytes: &[u8], n_columns: usize) -> Option<Vec<Vec<u64>>> {
    let (version, mut rest) = bytes.split_first()?;
    let (columns, rows) = (take(&mut rest)?, take(&mut rest)?);
    if *version != VERSION || columns != u64::try_from(n_columns).ok()? || rows > MAX_ROWS {
        return None;
    }
    let n_rows = usize::try_from(rows).ok()?;
    let mut decoded = Vec::with_capacity(n_columns);
    for _ in 0..n_columns {
        let (kind, after) = rest.split_first()?;
        rest = after;
        let number = take(&mut rest)?;
        let column = match *kind {
            SHARED => vec![number; n_rows],
            COMPRESSED => {
                let (compressed, after) = rest.split_at_checked(usize::try_from(number).ok()?)?;
                rest = after;
                simple_decompress(compressed).ok().filter(|column: &Vec<u64>| column.len() == n_rows)?
            }
            _ => return None,
        };
        decoded.push(column);
    }
    rest.is_empty().then_some(decoded)
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_hour_of_samples_takes_a_few_bytes_each() {
        // What a working sandbox looks like: ticks a few milliseconds late, memory in pages, a share that jumps.
        let mut noise = 1_u64;
        let mut next = |below: u64| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (noise >> 33) % below
        };
        let rows = 720;
        let at = (0..rows).map(|n| 1_790_000_000_000 + n * 5_000 + next(20)).collect();
        let cpu = (0..rows).map(|_| next(2_000)).collect();
        let mut used = 40_000_u64;
        let memory = (0..rows)
            .map(|_| {
                used += next(64);
                used * 4096
            })
            .collect();
        let cache = (0..rows).map(|n| (9_000 + n / 7) * 4096).collect();
        let disk = (0..rows).map(|n| (2_000 + n / 20) * 4096).collect();
        let shared = |value: u64| vec![value; 720];
        let columns = [at, cpu, shared(2), memory, shared(512 << 20), cache, disk, shared(1 << 30)];
        let bytes = encode(&columns).unwrap();
        assert!(bytes.len() < 720 * 6, "{} bytes for 720 samples", bytes.len());
        assert_eq!(decode(&bytes, 8).unwrap(), columns);
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let bytes = encode(&[vec![1, 2, 3], vec![7; 3]]).unwrap();
        assert_eq!(decode(&bytes, 3), None);
        assert_eq!(decode(&bytes[..bytes.len() - 1], 2), None);
        assert_eq!(decode(&[], 2), None);
        assert_eq!(decode(&[VERSION, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 1], 1), None);
        assert_eq!(encode(&[vec![1], vec![]]), None);
        assert_eq!(
            decode(&encode(&[vec![], vec![]]).unwrap(), 2).unwrap(),
            [vec![], vec![]] as [Vec<u64>; 2]
        );
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(rows in proptest::collection::vec(any::<[u64; 3]>(), 0..300)) {
            let columns: Vec<Vec<u64>> = (0..3).map(|column| rows.iter().map(|row| row[column]).collect()).collect();
            let bytes = encode(&columns).unwrap();
            prop_assert_eq!(decode(&bytes, 3).unwrap(), columns);
        }

        #[test]
        fn nonsense_is_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes, 2);
        }
    }
}
