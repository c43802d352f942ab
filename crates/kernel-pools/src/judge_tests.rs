use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;
const BUDGET: u64 = 64 * MIB;

fn id(n: usize) -> SandboxId {
    format!("i{n:020}").parse().unwrap()
}

fn seen(n: usize) -> Seen {
    let (lock_bytes, socket_bytes, file_bytes, n_files, charged_bytes, system_usec) = (0, 0, 0, 0, 0, 0);
    Seen { id: id(n), lock_bytes, socket_bytes, file_bytes, n_files, charged_bytes, system_usec }
}

fn host(mib: u64) -> Host {
    let bytes = mib * MIB;
    Host { kernel_bytes: bytes, fixed_bytes: bytes, n_files: 1_000, max_files: 1_000_000, system_usec: 0 }
}

#[test]
fn who_holds_more_than_the_budget_ends_for_what_it_holds_most_of() {
    let mut watch = Watch::new(BUDGET);
    let held = [
        Seen { lock_bytes: BUDGET, ..seen(0) },
        Seen { lock_bytes: BUDGET, socket_bytes: 1, ..seen(1) },
        Seen { socket_bytes: BUDGET + 1, ..seen(2) },
        Seen { file_bytes: BUDGET, socket_bytes: 3, ..seen(3) },
        seen(4),
    ];
    let judgement = watch.judge(&host(500), &held);
    let causes = [(id(1), Cause::FileLocks), (id(2), Cause::SocketBuffers), (id(3), Cause::OpenFiles)];
    assert_eq!(judgement.ended, causes);
}

#[test]
fn a_host_short_of_open_files_ends_who_has_a_large_part_of_them() {
    let mut watch = Watch::new(BUDGET);
    let sandboxes = [Seen { n_files: 130_000, ..seen(0) }, Seen { n_files: 100_000, ..seen(1) }];
    let roomy = Host { n_files: 400_000, ..host(100) };
    assert_eq!(watch.judge(&roomy, &sandboxes).ended, []);
    let short = Host { n_files: 500_001, ..host(100) };
    assert_eq!(watch.judge(&short, &sandboxes).ended, [(id(0), Cause::OpenFiles)]);
}

#[test]
fn sandboxes_are_looked_at_when_the_kernels_memory_grows_and_now_and_then_while_it_is_much() {
    let mut watch = Watch::new(BUDGET);
    assert!(watch.suspects(&host(1_000)), "the first time");
    let _baseline = watch.judge(&host(1_000), &[]);
    assert!((0..1_000).all(|_| !watch.suspects(&host(1_010))), "little more");
    assert!(watch.suspects(&host(1_020)), "a quarter of the budget more");
    assert!(!watch.suspects(&host(1_030)));
    assert!(watch.suspects(&host(1_070)));
    let n_looks = (0..400).filter(|_| watch.suspects(&host(1_070))).count();
    assert!((5..=20).contains(&n_looks), "{n_looks}");
    assert!(!watch.suspects(&host(900)));
    assert!(watch.suspects(&host(1_070)), "growth is from where it fell to");
}

/// One keeps the kernel busy while its memory grows; the others and the host's own work do little.
#[test]
fn growth_that_nobody_sees_is_of_whom_the_kernel_worked_for() {
    let mut watch = Watch::new(BUDGET);
    let at = |step: u64, busy: u64, idle: u64| {
        let host = Host { system_usec: step * 1_000_000, ..host(1_000 + step * 50) };
        let sandboxes =
            [Seen { system_usec: busy * step, ..seen(0) }, Seen { system_usec: idle * step, ..seen(1) }];
        (host, sandboxes)
    };
    let mut ended = Vec::new();
    for step in 0..8 {
        let (host, sandboxes) = at(step, 900_000, 50_000);
        let judgement = watch.judge(&host, &sandboxes);
        assert_eq!(judgement.grown_bytes, step * 50 * MIB);
        ended.extend(judgement.ended);
        if step < 5 {
            assert_eq!(ended, [], "not before four budgets");
        }
    }
    assert_eq!(ended.first(), Some(&(id(0), Cause::KernelMemory)));
    assert!(ended.iter().all(|(who, _)| *who == id(0)));

    let mut watch = Watch::new(BUDGET);
    let mut last = Judgement::default();
    for step in 0..100 {
        let (host, sandboxes) = at(step, 500_000, 50_000);
        last = watch.judge(&host, &sandboxes);
        assert_eq!(last.ended, [], "half of the work is no proof");
    }
    assert!(last.is_unknown, "the operator is to know");
}

#[test]
fn growth_over_hours_is_nobodys() {
    let mut watch = Watch::new(BUDGET);
    for step in 0..2_000 {
        let host = Host { system_usec: step * 20_000_000, ..host(1_000 + step) };
        let sandboxes = [Seen { system_usec: step * 19_000_000, ..seen(0) }];
        assert_eq!(watch.judge(&host, &sandboxes).ended, []);
    }
}

fn any_seen() -> impl Strategy<Value = (u64, u64, u64, u64, u64)> {
    (0..200 * MIB, 0..200 * MIB, 0..200 * MIB, 0..2_000 * MIB, 0..500_000_u64)
}

proptest! {
    /// Whatever happens to the host: who holds little and does little is never ended, and who holds too much always is.
    #[test]
    fn the_innocent_are_spared_and_the_guilty_are_not(
        looks in prop::collection::vec((0..100_000_u64, any_seen()), 1..40),
    ) {
        let mut watch = Watch::new(BUDGET);
        let (mut time, mut busy_time) = (0, 0);
        for (mib, (lock_bytes, socket_bytes, file_bytes, charged_bytes, busy)) in looks {
            // Half of the host's work is the innocent's.
            time += 1_000_000;
            busy_time += busy;
            let guilty = Seen { lock_bytes, socket_bytes, file_bytes, charged_bytes, system_usec: busy_time, ..seen(0) };
            let innocent = Seen { lock_bytes: BUDGET / 2, system_usec: time / 2, ..seen(1) };
            let host = Host { system_usec: time, ..host(mib) };
            let judgement = watch.judge(&host, &[guilty.clone(), innocent]);
            prop_assert!(!judgement.ended.iter().any(|(id, _)| *id == self::id(1)));
            let is_ended = judgement.ended.iter().any(|(id, cause)| *id == self::id(0) && *cause != Cause::KernelMemory);
            prop_assert_eq!(is_ended, guilty.held_bytes() > BUDGET);
        }
    }

    /// No numbers make it fail.
    #[test]
    fn extremes_are_judged(looks in prop::collection::vec(prop::array::uniform8(prop_oneof![Just(0), Just(u64::MAX), any::<u64>()]), 1..8)) {
        let mut watch = Watch::new(BUDGET);
        for [kernel_bytes, fixed_bytes, n_files, max_files, system_usec, a, b, c] in looks {
            let host = Host { kernel_bytes, fixed_bytes, n_files, max_files, system_usec };
            let all = Seen { lock_bytes: a, socket_bytes: b, file_bytes: c, n_files: a, charged_bytes: b, system_usec: c, ..seen(0) };
            let _due = watch.suspects(&host);
            let judgement = watch.judge(&host, &[all, seen(1)]);
            prop_assert!(judgement.ended.len() <= 2);
        }
    }
}
