//! Following every event, over a feed that is faster than its reader, and over restarts.

use std::collections::BTreeMap;
use std::sync::Arc;

use sandscope_model::TeamId;
use sandscope_store::{Heard, Store, Tail};

use crate::support::House;

/// More events than the feed keeps.
const MANY: u64 = 1_100;

/// Numbers by team, as they were handed out.
type Taken = BTreeMap<TeamId, Vec<u64>>;

async fn take_all(tail: &mut Tail, max: u32, taken: &mut Taken) {
    while let Some(batch) = tail.try_next(max).await.unwrap() {
        assert!(batch.events.len() <= max as usize && batch.n_lost == 0, "{batch:?}");
        taken.entry(batch.team_id).or_default().extend(batch.events.iter().map(|event| event.sequence));
    }
}

/// Events of the first team, from many sandboxes at once, so that they share their commits.
async fn write(house: &House, n: u64) {
    const AT_ONCE: u64 = 50;
    let mut sandboxes = Vec::new();
    for _ in 0..AT_ONCE {
        sandboxes.push(house.running(0).await);
    }
    let (each, rest) = ((n - AT_ONCE) / AT_ONCE, (n - AT_ONCE) % AT_ONCE);
    let updates = sandboxes.iter_mut().enumerate().map(|(index, sandbox)| async move {
        for second in 0..each + u64::from((index as u64) < rest) {
            house.update(sandbox, second as i64).await;
        }
    });
    let mut updates: Vec<_> = updates.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        updates.retain_mut(|update| update.as_mut().poll(context).is_pending());
        if updates.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[tokio::test]
async fn a_reader_that_is_slower_than_the_feed_gets_every_event_once_and_in_order() {
    let house = House::new().await;
    let other = house.other_team("other").await;
    house.running(0).await;
    let mut tail = house.store.events.tail_from_now();
    let mut feed = house.store.events.subscribe_events();
    // Before it is asked for the first time, and still from when it was made.
    let mut sandbox = house.running(1).await;
    assert_eq!(house.update(&mut sandbox, 2).await, 3);
    let mut taken = Taken::new();
    take_all(&mut tail, 10, &mut taken).await;
    assert_eq!(taken, [(house.team.id, vec![2, 3])].into());
    write(&house, MANY).await;
    let theirs = crate::support::sandbox(&other, 0);
    house.admit_and_run(theirs).await;
    assert!(matches!(feed.try_next(), Some(Heard::Missed(_))), "the feed kept all of it");
    take_all(&mut tail, 64, &mut taken).await;
    assert_eq!(taken, [(house.team.id, (2..=MANY + 3).collect()), (other.id, vec![1])].into());
    assert_eq!(tail.position(house.team.id), MANY + 3);

    let event = house.update(&mut sandbox, 3);
    let (batch, number) = tokio::join!(tail.next(1), event);
    let batch = batch.unwrap();
    assert_eq!((batch.after, batch.events[0].sequence), (number - 1, number));
    tail.rewind(house.team.id, batch.after);
    assert_eq!(tail.next(1).await.unwrap().events, batch.events, "again, and from the log");
}

#[tokio::test]
async fn a_reader_goes_on_from_what_it_has_taken() {
    let house = House::new().await;
    let mut sandbox = house.running(0).await;
    house.update(&mut sandbox, 1).await;
    house.store.close().await;
    let store = Store::open(house.dir.path(), Arc::clone(&house.clock) as _).unwrap();
    let mut taken = Taken::new();
    take_all(&mut store.events.tail([(house.team.id, 1)].into()), 5, &mut taken).await;
    assert_eq!(taken, [(house.team.id, vec![2])].into());
    let mut taken = Taken::new();
    take_all(&mut store.events.tail(BTreeMap::new()), 1, &mut taken).await;
    assert_eq!(taken, [(house.team.id, vec![1, 2])].into());
}
