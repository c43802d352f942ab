use sandscope_model::{EventDraft, EventType, SandboxRef};

use super::*;

#[path = "event_readers_poison_tests.rs"]
mod poison;

fn event(sequence: u64) -> Arc<Event> {
    let uuid = uuid::Uuid::from_u128(u128::from(sequence));
    let sandbox = SandboxRef {
        id: "i0123456789abcdefghij".parse().unwrap(),
        execution_id: uuid.into(),
        template_id: "rki5dems9wqfm4r03t7g".parse().unwrap(),
        build_id: uuid.into(),
        metadata: [].into(),
    };
    let ids = (uuid.into(), uuid::Uuid::from_u128(0).into());
    let at = sandscope_model::Timestamp::UNIX_EPOCH;
    let draft = EventDraft::example(EventType::Updated, ids, sandbox, at);
    Arc::new(Event { sequence, draft })
}

fn reader(sequences: impl IntoIterator<Item = u64>) -> Reader {
    let run: Arc<Mutex<VecDeque<_>>> = Arc::default();
    for sequence in sequences {
        push(&mut lock(&run), event(sequence));
    }
    let changes = watch::Sender::new(0).subscribe();
    let health = watch::Sender::new(Health::Serving).subscribe();
    Reader { team: uuid::Uuid::from_u128(0).into(), teams: Arc::default(), run, changes, health }
}

fn taken(next: Next) -> Option<Vec<u64>> {
    match next {
        Next::Events(events) => Some(events.iter().map(|live| live.event.sequence).collect()),
        Next::ReadLog => None,
        Next::Nothing => Some(Vec::new()),
    }
}

#[test]
fn a_run_serves_who_is_within_it_and_sends_others_to_the_log() {
    let reader = reader(5..=9);
    assert_eq!(taken(reader.next(9, 10)), Some(vec![]));
    assert_eq!(taken(reader.next(8, 10)), Some(vec![9]));
    assert_eq!(taken(reader.next(4, 2)), Some(vec![5, 6]));
    assert_eq!(taken(reader.next(3, 10)), None);
    assert_eq!(taken(reader.next(100, 10)), Some(vec![]));
}

#[test]
fn a_run_has_no_gaps_and_a_bound() {
    assert_eq!(taken(reader([]).next(0, 10)), None);
    let gap = reader([1, 2, 5]);
    assert_eq!(taken(gap.next(2, 10)), None);
    assert_eq!(taken(gap.next(4, 10)), Some(vec![5]));
    let long = reader(1..=RUN as u64 + 3);
    assert_eq!(lock(&long.run).len(), RUN);
    assert_eq!(taken(long.next(2, 10)), None);
    assert_eq!(taken(long.next(3, 1)), Some(vec![4]));
}
