use super::*;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

#[test]
fn a_small_disk_keeps_a_tenth_and_a_large_one_what_is_wished() {
    assert_eq!(Bounds::of(120 * MIB, GIB), Bounds { ballast: 6 * MIB, low: 6 * MIB });
    assert_eq!(Bounds::of(100 * GIB, GIB), Bounds { ballast: GIB / 2, low: GIB / 2 });
    assert_eq!(Bounds::of(100 * GIB, 0), Bounds { ballast: 0, low: 0 });
}

#[test]
fn what_is_short_needs_more_room_to_be_well_again_than_it_lost() {
    let bounds = Bounds::of(100 * GIB, GIB);
    assert_eq!(bounds.stage(Stage::Near, GIB / 2 - 1, 0), Stage::Short);
    assert_eq!(bounds.stage(Stage::Near, GIB / 2, 0), Stage::Near);
    assert_eq!(bounds.stage(Stage::Short, GIB / 2, 0), Stage::Short);
    assert_eq!(bounds.stage(Stage::Short, GIB * 3 / 4, 0), Stage::Near);
    assert_eq!(bounds.stage(Stage::Near, GIB, 0), Stage::Ample);
    assert_eq!(bounds.stage(Stage::Ample, 5 * GIB, 4 * GIB), Stage::Ample);
    assert_eq!(bounds.stage(Stage::Ample, 5 * GIB - 1, 4 * GIB), Stage::Near);
}

#[test]
fn never_is_more_promised_than_there_is() {
    for free in [0, 1, MIB, 7 * MIB, 100 * MIB, 3 * GIB, u64::MAX / 4] {
        for stage in [Stage::Near, Stage::Short] {
            let bounds = Bounds::of(20 * GIB, 64 * MIB);
            let promise = bounds.promise(stage, free);
            assert!(promise <= free.saturating_sub(bounds.low), "{free}");
            for (n, n_busy) in [(1, 0), (1, 1), (7, 3), (1000, 0), (1000, 1), (1000, 1000)] {
                let grants = Grants::share(promise, n, n_busy);
                let sum = grants.quiet * (n - n_busy) + grants.busy * n_busy;
                assert!(sum <= promise, "{grants:?} for {n}, {n_busy} of them busy, of {promise}");
            }
        }
    }
}

#[test]
fn who_writes_gets_more_and_nobody_crumbs() {
    let grants = Grants::share(GIB, 100, 1);
    assert_eq!(grants, Grants { quiet: 4 * MIB, busy: 512 * MIB });
    assert_eq!(Grants::share(GIB, 1, 0), Grants { quiet: GIB, busy: GIB });
    assert_eq!(Grants::share(10 << 10, 1, 0), Grants::default());
}
