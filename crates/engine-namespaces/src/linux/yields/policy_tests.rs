use proptest::prelude::*;

use super::*;

/// A window's length.
const WINDOW: u64 = 100_000;

fn id(index: usize) -> SandboxId {
    format!("i{index:020}").parse().unwrap()
}

/// Sandboxes and what they have used so far.
struct Table {
    policy: Policy,
    usages: Vec<Usage>,
}

impl Table {
    fn of(n: usize) -> Self {
        let usages = (0..n).map(|index| Usage { id: id(index), usec: 0, system_usec: 0 }).collect();
        let mut table = Self { policy: Policy::default(), usages };
        assert_eq!(table.policy.judge(WINDOW, &table.usages), []);
        table
    }

    /// One more window, in which each used so much.
    fn window(&mut self, used: &[u64]) -> Vec<Change> {
        self.window_in_kernel(used, 0)
    }

    /// The same where the first had the kernel work for so many percent of it.
    fn window_in_kernel(&mut self, used: &[u64], pct: u64) -> Vec<Change> {
        for (usage, used) in self.usages.iter_mut().zip(used) {
            usage.usec += used;
        }
        self.usages[0].system_usec += used[0] * pct / 100;
        self.policy.judge(WINDOW, &self.usages)
    }
}

fn change(index: usize, from: Turn, to: Turn) -> Change {
    Change { id: id(index), from, to }
}

fn begins(index: usize) -> Change {
    change(index, Turn::Equal, Turn::Yields)
}

fn ends(index: usize) -> Change {
    change(index, Turn::Yields, Turn::Equal)
}

#[test]
fn who_computes_yields_to_who_does_little() {
    let mut table = Table::of(3);
    assert_eq!(table.window(&[190_000, 4_000, 0]), [begins(0)]);
    assert_eq!(table.window(&[190_000, 4_000, 0]), [], "it goes on");
    assert!(table.policy.has_yielding());
}

#[test]
fn who_computes_alone_leaves_room_for_a_newcomer() {
    assert_eq!(Table::of(1).window(&[190_000]), [begins(0)]);
}

#[test]
fn all_that_compute_yield_and_so_share_as_before() {
    assert_eq!(Table::of(3).window(&[66_000, 66_000, 66_000]), [begins(0), begins(1), begins(2)]);
}

#[test]
fn nobody_yields_for_a_little_work() {
    assert_eq!(Table::of(2).window(&[4_900, 100]), []);
}

#[test]
fn half_a_second_of_little_use_ends_it_and_one_burst_in_between_does_not() {
    let mut table = Table::of(2);
    table.window(&[190_000, 4_000]);
    for _ in 0..4 {
        assert_eq!(table.window(&[1_000, 4_000]), []);
    }
    assert_eq!(table.window(&[190_000, 4_000]), []);
    for _ in 0..4 {
        assert_eq!(table.window(&[1_000, 4_000]), []);
    }
    assert_eq!(table.window(&[1_000, 4_000]), [ends(0)]);
    assert!(!table.policy.has_yielding());
}

#[test]
fn who_is_kept_from_the_cpus_does_not_yield_for_ever() {
    let mut table = Table::of(2);
    table.window(&[190_000, 4_000]);
    let changes: Vec<Change> = (0..5).flat_map(|_| table.window(&[2_000, 19_000])).collect();
    assert!(changes.contains(&ends(0)), "{changes:?}");
}

#[test]
fn one_seen_for_the_first_time_is_judged_the_next_time() {
    let mut table = Table::of(1);
    table.usages.push(Usage { id: id(1), usec: 50_000_000, system_usec: 0 });
    assert_eq!(table.window(&[0, 0]), []);
    assert_eq!(table.window(&[0, 190_000]), [begins(1)]);
}

#[test]
fn what_is_gone_is_forgotten() {
    let mut table = Table::of(2);
    table.window(&[190_000, 4_000]);
    table.usages.remove(0);
    table.window(&[4_000]);
    assert!(!table.policy.has_yielding());
}

#[test]
fn who_has_the_kernel_work_most_of_the_time_is_kept_to_half_beside_others() {
    let mut table = Table::of(2);
    assert_eq!(table.window_in_kernel(&[190_000, 4_000], 60), [change(0, Turn::Equal, Turn::Half)]);
    assert_eq!(table.window_in_kernel(&[95_000, 4_000], 60), [], "it goes on");
    assert!(table.policy.has_yielding());
    for _ in 0..19 {
        assert_eq!(table.window_in_kernel(&[95_000, 4_000], 40), []);
    }
    assert_eq!(table.window_in_kernel(&[95_000, 4_000], 40), [change(0, Turn::Half, Turn::Yields)]);
}

#[test]
fn alone_it_has_all_cpus_again_and_when_it_rests_as_well() {
    let mut table = Table::of(2);
    assert_eq!(table.window_in_kernel(&[190_000, 0], 90), [begins(0)]);
    assert_eq!(table.window_in_kernel(&[190_000, 4_000], 90), [change(0, Turn::Yields, Turn::Half)]);
    let changes: Vec<Change> = (0..20).flat_map(|_| table.window_in_kernel(&[95_000, 0], 90)).collect();
    assert_eq!(changes, [change(0, Turn::Half, Turn::Yields)]);
    table.window_in_kernel(&[190_000, 4_000], 90);
    let changes: Vec<Change> = (0..5).flat_map(|_| table.window_in_kernel(&[0, 4_000], 0)).collect();
    assert_eq!(changes, [change(0, Turn::Half, Turn::Equal)]);
}

proptest! {
    #[test]
    fn those_that_yield_are_left_their_equal_share(used in prop::collection::vec(0_u64..400_000, 1..20)) {
        let mut table = Table::of(used.len());
        let yielding = table.window(&used).len() as u64;
        let going_first: u64 = table
            .usages
            .iter()
            .filter(|usage| table.policy.seen[&usage.id].turn == Turn::Equal)
            .map(|usage| usage.usec)
            .sum();
        let total: u64 = used.iter().sum();
        let equal = total / used.len() as u64;
        // What those that go first took leaves an equal share for each that yields; but for those who need not yield
        // because they use next to nothing.
        let little = used.len() as u64 * WINDOW / MODEST;
        prop_assert!(total - going_first + little >= equal * yielding);
    }

    #[test]
    fn whoever_uses_most_yields_if_it_computes(used in prop::collection::vec(0_u64..400_000, 1..20)) {
        let mut table = Table::of(used.len());
        table.window(&used);
        let (most, by) = used.iter().zip(&table.usages).max_by_key(|(used, _)| **used).unwrap();
        prop_assert_eq!(table.policy.seen[&by.id].turn != Turn::Equal, *most >= WINDOW / MODEST);
    }
}
