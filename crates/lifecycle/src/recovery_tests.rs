use super::*;

#[test]
fn every_state_meets_every_finding() {
    let crash = Exit::of_cause(Cause::AgentExited);
    let crashed = Plan::Bury { exit: crash.clone() };
    let lost = |missing| Plan::Bury { exit: Exit::of_cause(missing) };
    let found = [Some(FoundState::Running), Some(FoundState::Paused), Some(FoundState::Dead(crash)), None];
    let all = |plan: Plan| [plan.clone(), plan.clone(), plan.clone(), plan];
    for missing in [Cause::Vanished, Cause::DirectoryAdopted] {
        let dead = |running, paused| [running, paused, crashed.clone(), lost(missing)];
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
                assert_eq!(
                    plan(recorded, found.as_ref(), missing),
                    expected,
                    "{recorded} found as {found:?}"
                );
            }
        }
    }
}
