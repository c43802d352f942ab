//! Where a reader is in each team's log, and where what follows is to be found: the rules of [`Tail`](super::Tail),
//! without a store.

use std::collections::{BTreeMap, VecDeque};

use sandscope_model::TeamId;

/// Events held in memory, of all teams together. More are read from the log.
const HELD: usize = 1024;

/// Events of one team that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<E> {
    /// The team.
    pub team_id: TeamId,
    /// The last event handed out before these: what [`rewind`](super::Tail::rewind) takes to hand these out again.
    pub after: u64,
    /// The events, oldest first; at least one.
    pub events: Vec<E>,
    /// So many before the first of them were removed by retention before this reader came to them.
    pub n_lost: u64,
}

/// What a reader does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<E> {
    /// Hands these out.
    Deliver(Batch<E>),
    /// Asks which teams there are, and says so to [`Positions::list`].
    List,
    /// Reads what follows in a team's log, and says so to [`Positions::read`].
    Read { team_id: TeamId, after: u64 },
    /// Waits for the feed.
    Idle,
}

/// The positions of a reader.
#[derive(Debug)]
pub(super) struct Positions<E> {
    teams: BTreeMap<TeamId, Position<E>>,
    /// Events held, of all teams.
    n_held: usize,
    /// Whose turn it was.
    served: Option<TeamId>,
    /// Whether every team that may have events not heard of is in `teams`.
    is_listed: bool,
}

#[derive(Debug)]
struct Position<E> {
    /// The last event handed out.
    after: u64,
    /// What was heard, without a gap: the events `after + 1`, `after + 2` …
    held: VecDeque<E>,
    /// The log may have more than what is held.
    is_behind: bool,
}

impl<E> Position<E> {
    const fn new(after: u64, is_behind: bool) -> Self {
        Self { after, held: VecDeque::new(), is_behind }
    }
}

impl<E> Positions<E> {
    /// Begins behind the events `after`; what follows may be in the log.
    pub(super) fn resume(after: BTreeMap<TeamId, u64>) -> Self {
        let teams = after.into_iter().map(|(team, after)| (team, Position::new(after, true))).collect();
        Self { teams, n_held: 0, served: None, is_listed: false }
    }

    /// Begins behind the events `after`, which are all there are but for what will be heard.
    pub(super) fn caught_up(after: BTreeMap<TeamId, u64>) -> Self {
        let teams = after.into_iter().map(|(team, after)| (team, Position::new(after, false))).collect();
        Self { teams, n_held: 0, served: None, is_listed: true }
    }

    /// An event was committed. A team not known so far is new: its first event has number 1.
    pub(super) fn hear(&mut self, team: TeamId, sequence: u64, event: E) {
        let position = self.teams.entry(team).or_insert_with(|| Position::new(0, false));
        let next = position.after + position.held.len() as u64 + 1;
        if position.is_behind || sequence < next {
            // The log has it, or it was read there.
            return;
        }
        if sequence == next && self.n_held < HELD {
            position.held.push_back(event);
            self.n_held += 1;
        } else {
            position.is_behind = true;
        }
    }

    /// Events were committed and not heard, of whatever team.
    pub(super) fn missed(&mut self) {
        self.teams.values_mut().for_each(|position| position.is_behind = true);
        self.is_listed = false;
    }

    /// These are the teams.
    pub(super) fn list(&mut self, teams: impl Iterator<Item = TeamId>) {
        for team in teams {
            self.teams.entry(team).or_insert_with(|| Position::new(0, true));
        }
        self.is_listed = true;
    }

    /// The log has `found` behind the team's position, asked for at most `max` after [`Step::Read`].
    pub(super) fn read(&mut self, team: TeamId, more: bool, found: Vec<(u64, E)>) -> Option<Batch<E>> {
        let position = self.teams.get_mut(&team)?;
        // Without more it is all there was when it was read, and what came later is heard.
        position.is_behind = more;
        let (first, last) = (found.first()?.0, found.last()?.0);
        let after = std::mem::replace(&mut position.after, last);
        let n_lost = first.saturating_sub(after + 1);
        let events = found.into_iter().map(|(_, event)| event).collect();
        Some(Batch { team_id: team, after, events, n_lost })
    }

    /// What is next, for the team whose turn it is among those that have something.
    pub(super) fn step(&mut self, max: u32) -> Step<E> {
        if !self.is_listed {
            return Step::List;
        }
        let has_something = |position: &Position<E>| position.is_behind || !position.held.is_empty();
        let later = self.teams.iter().filter(|(team, _)| self.served.is_some_and(|served| **team > served));
        let mut in_turn = later.chain(self.teams.iter()).filter(|(_, position)| has_something(position));
        let Some(team_id) = in_turn.next().map(|(team, _)| *team) else { return Step::Idle };
        self.served = Some(team_id);
        let Some(position) = self.teams.get_mut(&team_id) else { return Step::Idle };
        if position.held.is_empty() {
            return Step::Read { team_id, after: position.after };
        }
        let n = position.held.len().min(usize::try_from(max.max(1)).unwrap_or(usize::MAX));
        let events: Vec<E> = position.held.drain(..n).collect();
        let after = position.after;
        position.after += n as u64;
        self.n_held -= n;
        Step::Deliver(Batch { team_id, after, events, n_lost: 0 })
    }

    /// Back to `after`: what follows is in the log.
    pub(super) fn rewind(&mut self, team: TeamId, after: u64) {
        let position = self.teams.entry(team).or_insert_with(|| Position::new(after, true));
        self.n_held -= position.held.len();
        *position = Position::new(after, true);
    }

    /// The last event handed out of a team.
    pub(super) fn of(&self, team: TeamId) -> u64 {
        self.teams.get(&team).map_or(0, |position| position.after)
    }
}

#[cfg(test)]
#[path = "positions_tests.rs"]
mod tests;
