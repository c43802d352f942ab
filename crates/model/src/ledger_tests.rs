use proptest::prelude::*;

use super::*;
use crate::{EventDraft, SandboxRef, StateName, Subject, Transition, Update};

fn at(ms: i64) -> Timestamp {
    // Not on a whole millisecond: what is counted must not depend on it.
    Timestamp::from_microsecond(1_790_000_000_000_000 + ms * 1000 + 137).unwrap()
}

/// A step of a sandbox's life, made after `wait` milliseconds, taking `takes`.
#[derive(Debug, Clone, Copy)]
struct Step {
    what: What,
    wait: i64,
    takes: i64,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Update,
    Pause,
    FailedPause,
    Resume,
    FailedResume,
    Kill,
    Die,
}

fn step() -> impl Strategy<Value = Step> {
    let what = prop_oneof![
        2 => Just(What::Update),
        4 => Just(What::Pause),
        1 => Just(What::FailedPause),
        4 => Just(What::Resume),
        1 => Just(What::FailedResume),
        1 => Just(What::Kill),
        1 => Just(What::Die),
    ];
    (what, 0..5000_i64, 0..50_i64).prop_map(|(what, wait, takes)| Step { what, wait, takes })
}

/// A sandbox's life by the state machine itself.
struct Lived {
    state: State,
    events: Vec<Event>,
    /// What clients could see, from each moment on.
    seen: Vec<(i64, Option<Presence>)>,
    now: i64,
}

impl Lived {
    fn live(steps: &[Step]) -> Self {
        let execution = run_of(1, 0);
        let mut life =
            Self { state: State::Creating { execution }, events: Vec::new(), seen: Vec::new(), now: 0 };
        life.now = 7;
        life.pass(Transition::Created);
        let mut n_executions = 1;
        for step in steps {
            life.now += step.wait;
            let running = life.state.name() == StateName::Running;
            let paused = life.state.name() == StateName::Paused;
            match step.what {
                What::Update if running => {
                    let end_at = at(life.now);
                    life.tell(Fact::Updated(Update::TimeoutMoved { end_at }));
                }
                What::Pause | What::FailedPause if running => {
                    life.pass(Transition::PauseRequested);
                    life.now += step.takes;
                    let at = at(life.now);
                    let fails = matches!(step.what, What::FailedPause);
                    life.pass(if fails { Transition::PauseFailed } else { Transition::Paused { at } });
                }
                What::Resume | What::FailedResume if paused => {
                    n_executions += 1;
                    let execution = run_of(n_executions, life.now);
                    life.pass(Transition::ResumeRequested { execution });
                    life.now += step.takes;
                    let fails = matches!(step.what, What::FailedResume);
                    life.pass(if fails { Transition::ResumeFailed } else { Transition::Resumed });
                }
                What::Kill if running || paused => {
                    life.pass(Transition::KillRequested { reason: KillReason::Request, cause: None });
                    life.now += step.takes;
                    life.pass(Transition::Ended { exit: None, at: at(life.now) });
                }
                What::Die if running || paused => {
                    let reason = KillReason::Crashed;
                    life.pass(Transition::Died { reason, exit: None, at: at(life.now) });
                }
                _ => {}
            }
        }
        life.now += 3;
        life
    }

    fn pass(&mut self, transition: Transition) {
        let (state, event) = self.state.apply(transition).unwrap();
        self.state = state;
        if let Some(fact) = event {
            self.tell(fact);
        }
    }

    fn tell(&mut self, fact: Fact) {
        let uuid = uuid::Uuid::from_u128(9);
        let sandbox = SandboxRef {
            id: "i0123456789abcdefghij".parse().unwrap(),
            execution_id: self.state.execution_id(),
            template_id: "t0000000000000000000".parse().unwrap(),
            build_id: uuid.into(),
            metadata: [].into(),
        };
        let draft = EventDraft {
            id: uuid.into(),
            team_id: uuid.into(),
            timestamp: at(self.now),
            subject: Subject::Sandbox(sandbox),
            origin: None,
            fact,
        };
        self.events.push(Event { sequence: self.events.len() as u64 + 1, draft });
        let presence = match self.state.name() {
            StateName::Running => Some(Presence::Running),
            StateName::Paused => Some(Presence::Paused),
            _ => None,
        };
        self.seen.push((self.now, presence));
    }

    /// What a client saw at `ms`.
    fn presence(&self, ms: i64) -> Option<Presence> {
        self.seen.iter().rev().find(|(from, _)| *from <= ms).and_then(|(_, presence)| *presence)
    }

    fn usage(&self, window: Window) -> Usage {
        let mut usage = Usage::default();
        let ended = self.events.iter().filter_map(|event| event.ended_execution());
        ended.for_each(|execution| usage.add_ended(execution, window));
        open_execution(&self.state)
            .into_iter()
            .for_each(|execution| usage.add_open(execution, window, now()));
        usage
    }
}

/// Nobody set the wall clock.
fn now() -> Stamp {
    let boot = crate::BootId::from(uuid::Uuid::nil());
    Stamp { at: Timestamp::UNIX_EPOCH, boot, uptime: crate::Uptime::ZERO }
}

fn run_of(n: u128, started: i64) -> Execution {
    Execution {
        id: uuid::Uuid::from_u128(n).into(),
        started_at: at(started),
        vcpu_count: 1 + u32::try_from(n % 3).unwrap(),
        memory_mb: 512,
        span: None,
    }
}

fn window(start: i64, end: i64) -> Window {
    Window { start_ms: at(start).as_millisecond(), end_ms: at(end).as_millisecond() }
}

proptest! {
    #[test]
    fn what_executions_say_is_what_is_counted_however_time_is_cut(
        steps in prop::collection::vec(step(), 0..30),
        mut cuts in prop::collection::vec(-100..100_000_i64, 0..8),
    ) {
        let life = Lived::live(&steps);
        let all = life.usage(window(-1000, life.now));
        let said: u64 =
            life.events.iter().filter_map(|event| Some(event.ended_execution()?.execution_time_ms)).sum();
        let open = open_execution(&life.state).map_or(0, |execution| between(execution.started_at, at(life.now)));
        prop_assert_eq!(all.execution_ms, u128::from(said + open));
        prop_assert_eq!(all.mib_ms, all.execution_ms * 512);

        cuts.retain(|cut| *cut < life.now);
        cuts.extend([-1000, life.now]);
        cuts.sort_unstable();
        let mut parts = Usage::default();
        for pair in cuts.windows(2) {
            parts.merge(&life.usage(window(pair[0], pair[1])));
        }
        prop_assert_eq!(
            (parts.execution_ms, parts.vcpu_ms, parts.mib_ms),
            (all.execution_ms, all.vcpu_ms, all.mib_ms)
        );
    }

    #[test]
    fn segments_adjoin_and_say_the_same(steps in prop::collection::vec(step(), 0..30)) {
        let life = Lived::live(&steps);
        let segments = segments(&life.events, Some(&life.state));
        for pair in segments.windows(2) {
            prop_assert_eq!(pair[0].end, pair[1].start, "{:?}", pair);
            prop_assert_ne!(pair[0].presence, pair[1].presence);
        }
        let mut ran = 0;
        for segment in &segments {
            let end = segment.end.unwrap_or_else(|| at(life.now));
            prop_assert_eq!(segment.duration_ms.is_some(), segment.end.is_some());
            if segment.presence == Presence::Running {
                prop_assert!(segment.size.is_some() && segment.execution_id.is_some());
                ran += segment.duration_ms.unwrap_or_else(|| between(segment.start.unwrap(), end));
            }
        }
        prop_assert_eq!(u128::from(ran), life.usage(window(-1000, life.now)).execution_ms);
        let ended = life.state.name() == StateName::Killed;
        prop_assert_eq!(segments.last().unwrap().end.is_some(), ended);
    }

    #[test]
    fn a_log_that_lost_its_beginning_still_tells_every_state_since(
        steps in prop::collection::vec(step(), 0..30),
        cut in 0..30_usize,
        ms in 0..100_000_i64,
    ) {
        let life = Lived::live(&steps);
        let rest = &life.events[cut.min(life.events.len())..];
        // What was removed happened before the moment asked for.
        let removed = life.events.len() - rest.len();
        prop_assume!(removed == 0 || life.seen[removed - 1].0 <= ms);
        let told = rest.iter().rev().find(|event| event.timestamp <= at(ms));
        let presence = match (told, rest.first()) {
            (Some(event), _) => after(event),
            (None, Some(first)) => before(first),
            (None, None) => match life.state.name() {
                StateName::Running => Some(Presence::Running),
                StateName::Paused => Some(Presence::Paused),
                _ => None,
            },
        };
        prop_assert_eq!(presence, life.presence(ms));

        let whole = segments(&life.events, Some(&life.state));
        let part = segments(rest, Some(&life.state));
        prop_assert!(part.len() <= whole.len());
        for (segment, full) in part.iter().rev().zip(whole.iter().rev()) {
            prop_assert_eq!((segment.presence, segment.end, segment.ended_by), (full.presence, full.end, full.ended_by));
            prop_assert!(segment.start.is_none_or(|start| Some(start) == full.start));
        }
    }
}
