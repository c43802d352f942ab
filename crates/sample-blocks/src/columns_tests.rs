use proptest::prelude::*;

use super::*;

fn full(values: impl IntoIterator<Item = u64>) -> Vec<Option<u64>> {
    values.into_iter().map(Some).collect()
}

fn read(columns: &Columns, slot: u64) -> Vec<Option<u64>> {
    (0..columns.n_rows()).map(|row| columns.slot(slot).get(row)).collect()
}

#[test]
fn an_hour_of_samples_takes_a_few_bytes_each() {
    // What a working sandbox looks like: ticks a few milliseconds late, memory in pages, a share that jumps.
    let mut noise = 1_u64;
    let mut next = |below: u64| {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (noise >> 33) % below
    };
    let rows = 720;
    let at = full((0..rows).map(|n| 1_790_000_000_000 + n * 5_000 + next(20)));
    let cpu = full((0..rows).map(|_| next(2_000)));
    let mut used = 40_000_u64;
    let memory = full((0..rows).map(|_| {
        used += next(64);
        used * 4096
    }));
    let cache = full((0..rows).map(|n| (9_000 + n / 7) * 4096));
    let disk = full((0..rows).map(|n| (2_000 + n / 20) * 4096));
    let shared = |value: u64| full(vec![value; 720]);
    let columns = [at, cpu, shared(2), memory, shared(512 << 20), cache, disk, shared(1 << 30)];
    let columns: Vec<_> = (0..).zip(columns).collect();
    let bytes = encode(720, &columns).unwrap();
    assert!(bytes.len() < 720 * 6, "{} bytes for 720 samples", bytes.len());
    let decoded = decode(&bytes, &[]).unwrap();
    for (slot, column) in columns {
        assert_eq!(read(&decoded, slot), column);
    }
}

#[test]
fn damaged_bytes_are_refused() {
    let bytes = encode(3, &[(4, full([1, 2, 3])), (9, full([7; 3]))]).unwrap();
    assert!(decode(&bytes, &[]).is_some());
    assert_eq!(decode(&bytes[..bytes.len() - 1], &[]), None);
    assert_eq!(decode(&[], &[]), None);
    assert_eq!(decode(&[3, 0, 0], &[]), None, "a version to come");
    let huge = [SLOTTED, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 1];
    assert_eq!(decode(&huge, &[]), None);
    assert_eq!(encode(2, &[(4, full([1]))]), None);
    assert_eq!(decode(&encode(0, &[]).unwrap(), &[]).unwrap().n_rows(), 0);
}

#[test]
fn what_is_not_known_is_passed_over_and_what_is_not_there_has_no_value() {
    let mut bytes = encode(2, &[(4, full([1, 2])), (900, full([5, 6])), (8, vec![None, None])]).unwrap();
    assert_eq!(bytes[1], 2, "a column without a value is not written");
    let decoded = decode(&bytes, &[]).unwrap();
    assert_eq!(read(&decoded, 4), full([1, 2]));
    assert_eq!(read(&decoded, 8), [None, None]);
    assert!(!decoded.slot(8).is_there());
    // A column of a kind that a later version made.
    bytes[1] = 3;
    bytes.extend_from_slice(&[12, 77, 2, 0xab, 0xcd]);
    let decoded = decode(&bytes, &[]).unwrap();
    assert_eq!(read(&decoded, 900), full([5, 6]));
    assert_eq!(read(&decoded, 12), [None, None]);
}

#[test]
fn version_1_told_its_columns_apart_by_their_place() {
    let bytes = [PLACED, 2, 3, SHARED, 9, SHARED, 7];
    let decoded = decode(&bytes, &[40, 50]).unwrap();
    assert_eq!((read(&decoded, 40), read(&decoded, 50)), (full([9; 3]), full([7; 3])));
    assert_eq!(decode(&bytes, &[40]), None, "another number of columns");
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(
        rows in proptest::collection::vec((any::<u64>(), any::<Option<u32>>(), Just(5_u64)), 0..300),
    ) {
        let columns = [
            (1, full(rows.iter().map(|row| row.0))),
            (7, rows.iter().map(|row| row.1.map(u64::from)).collect()),
            (300, full(rows.iter().map(|row| row.2))),
        ];
        let decoded = decode(&encode(rows.len(), &columns).unwrap(), &[]).unwrap();
        for (slot, column) in columns {
            prop_assert_eq!(read(&decoded, slot), column);
        }
    }

    #[test]
    fn nonsense_is_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode(&bytes, &[1, 2]);
    }
}
