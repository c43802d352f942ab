//! Pages of a team's log, by position and filter, in bounded time whatever is asked.
//!
//! One index gives the candidates in order: by sandbox, by reason, by type or by template, in this order of
//! preference, or else the log itself; several reasons or types are read side by side and merged. Times are turned
//! into a range of numbers first, by the blocks' earliest and latest times. What the index does not decide is looked
//! at event by event, and of those at most [`MAX_EXAMINED`] for one page: such a page may be short or empty and still
//! say that there is more. So may one whose events' labels have grown past a bound in bytes.
//!
//! A position is the number of an event. Positions never move, so that pages neither skip nor repeat whatever is
//! committed meanwhile. A page is read from one snapshot of the store.

use std::ops::RangeInclusive;

use rusqlite::{Connection, OptionalExtension, params};
use sandscope_model::{
    Event, EventFilter, EventType, FIRST_NAMED_CODE, KillReason, SandboxId, TeamId, TemplateId, Timestamp,
    Visibility,
};

use crate::facts::events::{BLOCK, COLUMNS, MAX_BYTES_AT_ONCE, decode, n_label_bytes};
use crate::sqlite::row::{Cells, Columns, first, integer};
use crate::{EventLog, Order, StoreError};

/// Events looked at for one page that the index alone does not decide.
pub const MAX_EXAMINED: u32 = 5_000;

/// Which part of the log is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventQuery {
    /// Which events.
    pub filter: EventFilter,
    /// The number of the event the page starts behind; none starts at the beginning of the order.
    pub position: Option<u64>,
    /// Events to skip. Over a list that grows this skips and repeats: for compatibility only.
    pub offset: u32,
    /// Events at most.
    pub limit: u32,
    /// By number.
    pub order: Order,
}

/// A page of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// The events.
    pub events: Vec<Event>,
    /// Where the next page starts: nothing wanted lies between here and the query's position but `events`.
    pub position: u64,
    /// Whether there may be more by now. Oldest first, new events follow at `position` at any time.
    pub has_more: bool,
    /// Events behind the query's position that retention has removed, oldest first only: nobody can read them now.
    pub lost: Option<RangeInclusive<u64>>,
    /// The number of the newest event.
    pub last: u64,
}

/// The text of the query for the candidates of a page: `?1` the team, `?2` and `?3` the numbers they lie between,
/// `?4` sandbox or template, `?5` how many to skip.
pub(crate) fn sql(filter: &EventFilter, order: Order) -> String {
    let team = "team_no = (SELECT no FROM teams WHERE id = ?1) AND sequence > ?2 AND sequence < ?3";
    let select = |index: &str, condition: &str| {
        format!("SELECT {COLUMNS} FROM events {index} WHERE {team} {condition}")
    };
    let codes = type_codes(filter);
    // What is shown only to who names it is rare, so that leaving it out costs nothing: the plus keeps the index by type
    // away.
    let listed =
        if wants_listed(filter) { format!("AND +event_type < {FIRST_NAMED_CODE}") } else { String::new() };
    let branches: Vec<String> = if filter.sandbox_id.is_some() {
        let list = codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let types = if codes.is_empty() { listed } else { format!("AND event_type IN ({list})") };
        vec![select("INDEXED BY events_by_sandbox", &format!("AND sandbox_id = ?4 {types}"))]
    } else if !filter.reasons.is_empty() {
        let mut reasons: Vec<&str> = filter.reasons.iter().copied().map(KillReason::as_str).collect();
        reasons.sort_unstable();
        reasons.dedup();
        let select = |reason| select("INDEXED BY events_by_reason", &format!("AND kill_reason = '{reason}'"));
        reasons.into_iter().map(select).collect()
    } else if !codes.is_empty() {
        let select = |code| select("INDEXED BY events_by_type", &format!("AND event_type = {code}"));
        codes.into_iter().map(select).collect()
    } else if filter.template_id.is_some() {
        vec![select("INDEXED BY events_by_template", &format!("AND template_id = ?4 {listed}"))]
    } else {
        vec![select("", &listed)]
    };
    format!("{} ORDER BY sequence {} LIMIT -1 OFFSET ?5", branches.join(" UNION ALL "), order.sql())
}

/// Whether exactly the kinds are asked for that are shown to everybody.
fn wants_listed(filter: &EventFilter) -> bool {
    let is_listed = |kind: &EventType| kind.visibility() == Visibility::Listed;
    EventType::listed().all(|kind| filter.types.contains(&kind)) && filter.types.iter().all(is_listed)
}

/// The types asked for, as stored; none where a condition of its own leaves out the others.
fn type_codes(filter: &EventFilter) -> Vec<u8> {
    let mut types = filter.types.clone();
    types.sort_unstable();
    types.dedup();
    if types.len() == EventType::ALL.len() || wants_listed(filter) {
        types.clear();
    }
    types.into_iter().map(EventType::code).collect()
}

/// Whether the index alone does not decide.
fn has_rest(filter: &EventFilter) -> bool {
    let EventFilter { sandbox_id, types: _, reasons, template_id, metadata, start, end } = filter;
    let several = if sandbox_id.is_some() {
        !reasons.is_empty() || template_id.is_some()
    } else if !reasons.is_empty() {
        // Only kills have a reason: what types are asked for besides does not matter.
        template_id.is_some()
    } else {
        !type_codes(filter).is_empty() && template_id.is_some()
    };
    several || !metadata.is_empty() || start.is_some() || end.is_some()
}

/// The first and the last number the team's log has; the first is one more than the last where it is empty.
pub(crate) fn bounds(connection: &Connection, team: TeamId) -> Result<Option<(u64, u64)>, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT last_sequence, (SELECT MIN(sequence) FROM events WHERE team_no = no) AS first FROM teams WHERE id = ?",
        )?
        .query_row([team.as_uuid().as_bytes()], |row| {
            Ok((row.get::<_, i64>("last_sequence")?, row.get::<_, Option<i64>>("first")?))
        })
        .optional()?;
    let number = |n: i64| u64::try_from(n).unwrap_or(0);
    Ok(found.map(|(last, first)| (first.map_or(number(last) + 1, number), number(last))))
}

/// The numbers between which every event of these times lies; none if there are no such events.
pub(crate) fn numbers(
    connection: &Connection,
    team: TeamId,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
) -> Result<Option<(i64, i64)>, StoreError> {
    if start.is_none() && end.is_none() {
        return Ok(Some((0, i64::MAX)));
    }
    let start = start.map_or(i64::MIN, Timestamp::as_microsecond);
    // Stored times are cut to the microsecond: one that is cut to `end` may have been before it.
    let end = end.map_or(i64::MAX, Timestamp::as_microsecond);
    let blocks = connection
        .prepare_cached(BLOCKS)?
        .query_row(params![team.as_uuid().as_bytes(), start, end], |row| {
            Ok((row.get::<_, Option<i64>>("first")?, row.get::<_, Option<i64>>("last")?))
        })?;
    Ok(match blocks {
        (Some(first), Some(last)) => Some((first * BLOCK - 1, (last + 1) * BLOCK)),
        _ => None,
    })
}

/// The first and the last block with events of these times.
pub(crate) const BLOCKS: &str = "SELECT MIN(block) AS first, MAX(block) AS last FROM event_blocks
    WHERE team_no = (SELECT no FROM teams WHERE id = ?1) AND max_at >= ?2 AND min_at <= ?3";

fn read(connection: &Connection, team: TeamId, query: &EventQuery) -> Result<EventPage, StoreError> {
    let snapshot = connection.unchecked_transaction()?;
    let Some((first, last)) = bounds(&snapshot, team)? else { return Err(StoreError::UnknownTeam) };
    let EventQuery { filter, position, offset, limit, order } = query;
    let ascending = *order == Order::Asc;
    let begin = position.unwrap_or(if ascending { 0 } else { last + 1 });
    let lost = if ascending && begin + 1 < first { Some(begin + 1..=first - 1) } else { None };
    let end = if ascending { begin.max(last) } else { first.saturating_sub(1).min(begin) };
    let mut page = EventPage { events: Vec::new(), position: end, has_more: false, lost, last };
    let times = numbers(&snapshot, team, filter.start, filter.end)?;
    let Some((low, high)) = times.filter(|_| !filter.is_impossible()) else { return Ok(page) };
    let (low, high) = if ascending {
        (low.max(integer(begin)), high.min(integer(last + 1)))
    } else {
        (low, high.min(integer(begin)))
    };
    let examines = has_rest(filter);
    let text = filter.sandbox_id.as_ref().map(SandboxId::as_str);
    let by_template = filter.reasons.is_empty() && type_codes(filter).is_empty();
    let template = filter.template_id.as_ref().filter(|_| by_template).map(TemplateId::as_str);
    let mut skip = if examines { *offset } else { 0 };
    let mut statement = snapshot.prepare_cached(&sql(filter, *order))?;
    let team_id = team.as_uuid().as_bytes();
    let values = params![team_id, low, high, text.or(template), if examines { 0 } else { *offset }];
    let columns = Columns::of(&statement, "events");
    let mut rows = statement.query(values)?;
    let (mut n_examined, mut n_bytes) = (0, 0);
    while let Some(row) = rows.next()? {
        let event = decode(&mut Cells::new(row, &columns), team)?;
        if page.events.len() >= *limit as usize || n_examined >= MAX_EXAMINED || n_bytes >= MAX_BYTES_AT_ONCE
        {
            // There is one more: the next page starts before it.
            page.has_more = true;
            page.position = if ascending { event.sequence - 1 } else { event.sequence + 1 };
            break;
        }
        n_examined += u32::from(examines);
        if examines && !filter.matches(&event) {
            continue;
        }
        if skip > 0 {
            skip -= 1;
            continue;
        }
        n_bytes += n_label_bytes(&event);
        page.events.push(event);
    }
    Ok(page)
}

impl EventLog {
    /// A page of the team's log.
    ///
    /// # Errors
    /// [`StoreError::UnknownTeam`], or [`StoreError`] if the store cannot be read.
    pub async fn event_page(&self, team: TeamId, query: EventQuery) -> Result<EventPage, StoreError> {
        self.file().read(move |connection| read(connection, team, &query)).await
    }

    /// The events of a page of the team's log.
    ///
    /// # Errors
    /// As [`event_page`](Self::event_page).
    pub async fn events(&self, team: TeamId, query: EventQuery) -> Result<Vec<Event>, StoreError> {
        Ok(self.event_page(team, query).await?.events)
    }

    /// The numbers of the first and the last event the team's log has; the first is one more than the last where
    /// there is none.
    ///
    /// # Errors
    /// [`StoreError::UnknownTeam`], or [`StoreError`] if the store cannot be read.
    pub async fn log_bounds(&self, team: TeamId) -> Result<(u64, u64), StoreError> {
        let op = move |connection: &Connection| bounds(connection, team);
        self.file().read(op).await?.ok_or(StoreError::UnknownTeam)
    }

    /// The numbers of the events from `since` to `until` (both inclusive); `None` if there are none.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn sequence_range(
        &self,
        team: TeamId,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<Option<(u64, u64)>, StoreError> {
        let op = move |connection: &Connection| {
            let statement = connection.prepare_cached(
                "SELECT MIN(sequence) AS first, MAX(sequence) AS last FROM events
                 WHERE team_no = (SELECT no FROM teams WHERE id = ?1) AND timestamp BETWEEN ?2 AND ?3",
            )?;
            let since = since.map_or(i64::MIN, Timestamp::as_microsecond);
            let until = until.map_or(i64::MAX, Timestamp::as_microsecond);
            let range =
                first(statement, params![team.as_uuid().as_bytes(), since, until], "events", |cells| {
                    Ok((cells.optional_number("first")?, cells.optional_number("last")?))
                })?;
            Ok(range.and_then(|(low, high)| low.zip(high)))
        };
        self.file().read(op).await
    }
}
