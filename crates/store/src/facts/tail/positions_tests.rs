use std::collections::VecDeque;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const N_TEAMS: u8 = 3;

fn team(n: u8) -> TeamId {
    Uuid::from_u128(u128::from(n) + 1).into()
}

/// What happens around a reader.
#[derive(Debug, Clone)]
enum Move {
    /// A team's event is committed: it is in the log, and then in the feed.
    Commit(u8),
    /// The reader hears so much of the feed.
    Hear(usize),
    /// The reader takes what is next, at most so many.
    Take(u32),
    /// The reader begins to read the log and is dropped before it has an answer.
    GiveUp,
    /// Retention removes a team's oldest events, so many.
    Expire(u8, usize),
    /// The server starts again: the reader goes on from what it has taken.
    Restart,
    /// The reader could not use the last of what it took.
    Rewind(u8),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        8 => (0..N_TEAMS).prop_map(Move::Commit),
        4 => (0_usize..12).prop_map(Move::Hear),
        6 => (1_u32..6).prop_map(Move::Take),
        1 => Just(Move::GiveUp),
        1 => (0..N_TEAMS, 0_usize..5).prop_map(|(team, n)| Move::Expire(team, n)),
        1 => Just(Move::Restart),
        1 => (0..N_TEAMS).prop_map(Move::Rewind),
    ];
    prop::collection::vec(one, 0..200)
}

/// A log, a feed that holds little, and a reader of both.
struct World {
    /// The numbers of each team that are still there, and the last one ever.
    log: BTreeMap<TeamId, (VecDeque<u64>, u64)>,
    feed: VecDeque<(TeamId, u64)>,
    feed_holds: usize,
    /// Whether the feed has dropped what the reader has not heard.
    has_missed: bool,
    reader: Positions<u64>,
    /// Up to where the reader has taken each team's events.
    taken: BTreeMap<TeamId, u64>,
}

impl World {
    fn new(feed_holds: usize) -> Self {
        Self {
            log: BTreeMap::new(),
            feed: VecDeque::new(),
            feed_holds,
            has_missed: false,
            reader: Positions::resume(BTreeMap::new()),
            taken: BTreeMap::new(),
        }
    }

    fn commit(&mut self, team: TeamId) {
        let (numbers, last) = self.log.entry(team).or_default();
        *last += 1;
        numbers.push_back(*last);
        self.feed.push_back((team, *last));
        if self.feed.len() > self.feed_holds {
            self.feed.pop_front();
            self.has_missed = true;
        }
    }

    fn hear(&mut self, n: usize) {
        for _ in 0..n {
            if std::mem::take(&mut self.has_missed) {
                self.reader.missed();
            } else if let Some((team, sequence)) = self.feed.pop_front() {
                self.reader.hear(team, sequence, sequence);
            }
        }
    }

    /// Takes one step; whether there was anything to do.
    fn take(&mut self, max: u32) -> bool {
        match self.reader.step(max) {
            Step::Idle => return false,
            Step::List => self.reader.list(self.log.keys().copied()),
            Step::Deliver(batch) => self.check(&batch),
            Step::Read { team_id, after } => {
                let numbers = self.log.get(&team_id).map(|(numbers, _)| numbers);
                let following = numbers.into_iter().flatten().filter(|number| **number > after);
                let found: Vec<_> = following.take(max as usize).map(|number| (*number, *number)).collect();
                let more = found.len() >= max as usize;
                if let Some(batch) = self.reader.read(team_id, more, found) {
                    self.check(&batch);
                }
            }
        }
        true
    }

    /// Nothing skipped, nothing repeated, in order; and what is said to be lost is not in the log.
    fn check(&mut self, batch: &Batch<u64>) {
        let taken = self.taken.entry(batch.team_id).or_default();
        assert_eq!(batch.after, *taken);
        let first = *taken + batch.n_lost + 1;
        let expected: Vec<u64> = (first..first + batch.events.len() as u64).collect();
        assert_eq!(batch.events, expected, "after {taken}, {} lost", batch.n_lost);
        let oldest = self.log[&batch.team_id].0.front();
        assert!(batch.n_lost == 0 || oldest.is_none_or(|oldest| *oldest >= first), "it was not lost");
        *taken = *batch.events.last().unwrap();
        assert_eq!(self.reader.of(batch.team_id), *taken);
    }

    fn apply(&mut self, step: &Move) {
        match *step {
            Move::Commit(n) => self.commit(team(n)),
            Move::Hear(n) => self.hear(n),
            Move::Take(max) => {
                self.take(max);
            }
            Move::GiveUp => {
                if let Step::Deliver(batch) = self.reader.step(1) {
                    self.check(&batch);
                }
            }
            Move::Expire(n, many) => {
                if let Some((numbers, _)) = self.log.get_mut(&team(n)) {
                    numbers.drain(..many.min(numbers.len()));
                }
            }
            Move::Restart => {
                (self.feed, self.has_missed) = (VecDeque::new(), false);
                self.reader = Positions::resume(self.taken.clone());
            }
            Move::Rewind(n) => {
                let taken = self.taken.entry(team(n)).or_default();
                *taken = taken.saturating_sub(2);
                self.reader.rewind(team(n), *taken);
            }
        }
    }
}

proptest! {
    #[test]
    fn every_event_is_handed_out_once_and_in_order(moves in moves(), feed_holds in 1_usize..20) {
        let mut world = World::new(feed_holds);
        for step in &moves {
            world.apply(step);
        }
        loop {
            world.hear(usize::from(u8::MAX));
            if !world.take(4) {
                break;
            }
        }
        for (team, (numbers, last)) in &world.log {
            let taken = world.taken.get(team).copied().unwrap_or(0);
            // What was removed before it was taken leaves nothing to take.
            prop_assert!(taken == *last || numbers.back().is_none_or(|newest| taken >= *newest), "{taken} of {last}");
        }
        prop_assert_eq!(world.reader.n_held, 0);
    }
}

#[test]
fn while_it_keeps_up_the_log_is_not_read() {
    let mut positions = Positions::caught_up([(team(0), 7)].into());
    for sequence in [7, 8, 9] {
        positions.hear(team(0), sequence, sequence);
    }
    positions.hear(team(1), 1, 1);
    let batch = |n, after, events| Step::Deliver(Batch { team_id: team(n), after, events, n_lost: 0 });
    assert_eq!(positions.step(10), batch(0, 7, vec![8, 9]));
    assert_eq!(positions.step(10), batch(1, 0, vec![1]), "a new team's first event");
    assert_eq!(positions.step(10), Step::Idle);
}

#[test]
fn what_is_held_is_bounded_and_a_busy_team_keeps_no_other_waiting() {
    let mut positions = Positions::caught_up(BTreeMap::new());
    for sequence in 1..=2 * HELD as u64 {
        positions.hear(team(0), sequence, sequence);
    }
    positions.hear(team(1), 1, 1);
    assert_eq!(positions.n_held, HELD);
    assert!(matches!(positions.step(10), Step::Deliver(Batch { team_id, .. }) if team_id == team(0)));
    assert_eq!(positions.step(10), Step::Read { team_id: team(1), after: 0 });
}
