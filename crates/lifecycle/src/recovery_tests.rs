use super::*;

const fn exit(status: ExitStatus, n_oom_kills: u64) -> Exit {
    Exit { status: Some(status), n_oom_kills }
}

#[test]
fn every_state_meets_every_finding() {
    let crash = exit(ExitStatus::Code(1), 0);
    let crashed = Plan::Bury { reason: KillReason::Crashed, exit: Some(crash.clone()) };
    let lost = Plan::Bury { reason: KillReason::HostRestart, exit: None };
    let found = [
        Some(FoundState::Running),
        Some(FoundState::Paused),
        Some(FoundState::Dead(Some(crash))),
        Some(FoundState::Dead(None)),
        None,
    ];
    let all = |plan: Plan| [plan.clone(), plan.clone(), plan.clone(), plan.clone(), plan];
    let dead = |running, paused| [running, paused, crashed.clone(), lost.clone(), lost.clone()];
    let table = [
        (StateName::Creating, all(Plan::Forget)),
        (StateName::Running, dead(Plan::Drive, Plan::Thaw)),
        (StateName::Pausing, dead(Plan::FinishPause, Plan::FinishPause)),
        (StateName::Paused, dead(Plan::Freeze, Plan::Drive)),
        (StateName::Resuming, dead(Plan::FinishResume, Plan::FinishResume)),
        (StateName::Killing, all(Plan::FinishKill)),
    ];
    for (recorded, plans) in table {
        for (found, expected) in found.iter().zip(plans) {
            assert_eq!(plan(recorded, found.as_ref()), expected, "{recorded} found as {found:?}");
        }
    }
}

#[test]
fn out_of_memory_is_told_only_where_the_kernel_killed_the_first_process_for_it() {
    assert_eq!(cause_of_death(&exit(ExitStatus::Signal(9), 1)), KillReason::Oom);
    // A child was killed for lack of memory, and the first process ended by itself.
    assert_eq!(cause_of_death(&exit(ExitStatus::Code(137), 1)), KillReason::Crashed);
    assert_eq!(cause_of_death(&exit(ExitStatus::Signal(9), 0)), KillReason::Crashed);
    assert_eq!(cause_of_death(&Exit { status: None, n_oom_kills: 0 }), KillReason::Crashed);
}
