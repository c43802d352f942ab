//! What a receiver got, held against the team's log: nothing lost, nothing made up, nothing out of order, nothing twice
//! but for what a `kill -9` may repeat.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Result, bail, ensure};

use crate::receiver::Arrival;

/// An event as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) event_id: String,
    pub(crate) sandbox_id: String,
    pub(crate) event_type: String,
}

/// What waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    None,
    Sandbox,
    Strict,
}

/// What is to be seen in a receiver's requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Promise {
    pub(crate) order: Order,
    /// Deliveries that one kill may repeat.
    pub(crate) window: usize,
}

/// What the requests have shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) events: usize,
    pub(crate) requests: usize,
    pub(crate) repeated: usize,
    /// Of one kill, at most.
    pub(crate) repeated_by_one: usize,
}

/// The events of one sandbox, or of all.
#[derive(Default)]
struct Lane {
    numbers: Vec<u64>,
    /// The first so many were taken.
    n_taken: usize,
    /// The newest that came in a life.
    newest: Option<(usize, usize)>,
}

impl Promise {
    /// Judges the `arrivals` of a webhook to which `owed` was due, by number.
    pub(crate) fn judge(&self, owed: &BTreeMap<u64, Logged>, arrivals: &[Arrival]) -> Result<Shown> {
        let (mut lanes, places) = self.lanes(owed);
        let mut bodies: BTreeMap<u64, &[u8]> = BTreeMap::new();
        let mut taken: BTreeSet<u64> = BTreeSet::new();
        // In which life an event was last taken, as long as it has not come again.
        let mut last_taken: BTreeMap<u64, usize> = BTreeMap::new();
        // By the kill that repeated them.
        let mut repeated: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        let mut of_delivery: BTreeMap<&str, u64> = BTreeMap::new();
        for arrival in arrivals {
            let Arrival { life, sequence, .. } = *arrival;
            let logged = owed.get(&sequence);
            let is_logged = logged.is_some_and(|logged| {
                logged.event_id == arrival.event_id
                    && logged.sandbox_id == arrival.sandbox_id
                    && logged.event_type == arrival.event_type
            });
            ensure!(is_logged, "event {sequence} is {logged:?} in the log, and came as {arrival:?}");
            // A connection that ends without an answer may have ended before the request: then it is sent once more.
            let delivered = *of_delivery.entry(&arrival.delivery_id).or_insert(sequence);
            ensure!(delivered == sequence, "a delivery id came with two events: {arrival:?}");
            let first = *bodies.entry(sequence).or_insert(&arrival.body);
            ensure!(*first == *arrival.body, "event {sequence} came with different bodies: {arrival:?}");
            if let Some(earlier) = last_taken.remove(&sequence) {
                ensure!(earlier < life, "event {sequence} came twice in life {life}, and had been taken");
                repeated.entry(earlier).or_default().push(sequence);
            }
            if let Some((lane, place)) = places.get(&sequence) {
                let lane = &mut lanes[*lane];
                ensure!(
                    *place <= lane.n_taken,
                    "event {sequence} came before {} was taken",
                    lane.numbers[lane.n_taken]
                );
                let newest = lane.newest.filter(|(newest_life, _)| *newest_life == life);
                ensure!(
                    newest.is_none_or(|(_, newest)| newest <= *place),
                    "event {sequence} came after later ones of its sandbox in life {life}"
                );
                lane.newest = Some((life, *place));
                lane.n_taken += usize::from(arrival.taken && *place == lane.n_taken);
            }
            if arrival.taken {
                taken.insert(sequence);
                last_taken.insert(sequence, life);
            }
        }
        let lost: Vec<u64> = owed.keys().copied().filter(|number| !taken.contains(number)).collect();
        ensure!(lost.is_empty(), "{} of {} events are lost: {lost:?}", lost.len(), owed.len());
        let worst = repeated.iter().max_by_key(|(_, numbers)| numbers.len());
        let repeated_by_one = worst.map_or(0, |(_, numbers)| numbers.len());
        if let Some((life, numbers)) = worst.filter(|_| repeated_by_one > self.window) {
            let around = |life| -> Vec<(u64, bool)> {
                let of_life = arrivals.iter().filter(|arrival| arrival.life == life);
                of_life.map(|arrival| (arrival.sequence, arrival.taken)).collect()
            };
            let (before, after) = (around(*life), around(life + 1));
            let window = self.window;
            bail!(
                "the kill of life {life} repeated {numbers:?}, the window is {window}; it ended with {:?}, the next began \
                 with {:?}",
                &before[before.len().saturating_sub(40)..],
                &after[..after.len().min(40)],
            );
        }
        let (events, requests) = (owed.len(), arrivals.len());
        Ok(Shown { events, requests, repeated: repeated.values().map(Vec::len).sum(), repeated_by_one })
    }

    /// The lanes, and each event's lane and place in it.
    fn lanes(&self, owed: &BTreeMap<u64, Logged>) -> (Vec<Lane>, BTreeMap<u64, (usize, usize)>) {
        let (mut lanes, mut places) = (Vec::<Lane>::new(), BTreeMap::new());
        let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
        for (number, logged) in owed {
            let name = match self.order {
                Order::None => continue,
                Order::Sandbox => logged.sandbox_id.as_str(),
                Order::Strict => "",
            };
            let lane = *by_name.entry(name).or_insert_with(|| {
                lanes.push(Lane::default());
                lanes.len() - 1
            });
            places.insert(*number, (lane, lanes[lane].numbers.len()));
            lanes[lane].numbers.push(*number);
        }
        (lanes, places)
    }
}

/// Two sandboxes, events by turns.
fn owed() -> BTreeMap<u64, Logged> {
    let logged = |n: u64| Logged {
        event_id: format!("id-{n}"),
        sandbox_id: format!("sandbox-{}", n % 2),
        event_type: "updated".to_owned(),
    };
    (1..=8).map(|n| (n, logged(n))).collect()
}

/// Requests in this order: life, number, whether it was taken.
fn arrivals(requests: &[(usize, u64, bool)]) -> Vec<Arrival> {
    let arrival = |(n, (life, sequence, taken)): (usize, &(usize, u64, bool))| Arrival {
        life: *life,
        sequence: *sequence,
        event_id: format!("id-{sequence}"),
        sandbox_id: format!("sandbox-{}", sequence % 2),
        event_type: "updated".to_owned(),
        delivery_id: n.to_string(),
        signature: String::new(),
        body: Arc::from(sequence.to_string().as_bytes()),
        taken: *taken,
    };
    requests.iter().enumerate().map(arrival).collect()
}

const BY_SANDBOX: Promise = Promise { order: Order::Sandbox, window: 2 };

#[test]
fn what_is_promised_passes_the_judge() {
    let requests = [
        (0, 2, true),
        (0, 1, false),
        (0, 4, true),
        (0, 1, true),
        (1, 2, true),
        (1, 4, false),
        (1, 4, true),
        (1, 3, true),
        (1, 6, true),
        (2, 6, true),
        (2, 5, true),
        (2, 8, true),
        (2, 7, true),
    ];
    let shown = BY_SANDBOX.judge(&owed(), &arrivals(&requests)).unwrap();
    assert_eq!(shown, Shown { events: 8, requests: 13, repeated: 3, repeated_by_one: 2 });
}

#[test]
fn every_broken_promise_is_told() {
    let whole: Vec<(usize, u64, bool)> = (1..=8).map(|n| (0, n, true)).collect();
    let with = |more: &[(usize, u64, bool)]| arrivals(&[&whole[..], more].concat());
    let complaint = |promise: Promise, arrivals: &[Arrival]| {
        promise
            .judge(&owed(), arrivals)
            .map(|shown| panic!("not reported: {shown:?}"))
            .unwrap_err()
            .to_string()
    };
    assert!(BY_SANDBOX.judge(&owed(), &with(&[])).is_ok());
    for (arrivals, words) in [
        (with(&[])[..7].to_vec(), "1 of 8 events are lost: [8]"),
        (with(&[(0, 8, true)]), "came twice in life 0"),
        (with(&[(1, 4, true), (1, 6, true), (1, 8, true)]), "the kill of life 0 repeated [4, 6, 8]"),
        (with(&[(1, 8, true), (1, 6, true)]), "after later ones of its sandbox"),
        (arrivals(&[(0, 1, true), (0, 2, true), (0, 5, true)]), "came before 3 was taken"),
        (arrivals(&[(0, 1, true), (0, 3, false), (0, 5, true)]), "came before 3 was taken"),
        (with(&[(1, 9, true)]), "in the log"),
    ] {
        let told = complaint(BY_SANDBOX, &arrivals);
        assert!(told.contains(words), "{words:?} is not in {told:?}");
    }
    let mut other_id = with(&[]);
    other_id[3].event_id = "id-5".to_owned();
    assert!(complaint(BY_SANDBOX, &other_id).contains("in the log"));
    let mut other_body = with(&[(1, 8, true)]);
    other_body[8].body = Arc::from(b"other".as_slice());
    assert!(complaint(BY_SANDBOX, &other_body).contains("different bodies"));
    let mut same_delivery = with(&[]);
    same_delivery[1].delivery_id = "0".to_owned();
    assert!(complaint(BY_SANDBOX, &same_delivery).contains("delivery id came with two events"));
    let strict = Promise { order: Order::Strict, window: 2 };
    assert!(complaint(strict, &arrivals(&[(0, 2, true), (0, 1, true)])).contains("came before 1"));
    let none = Promise { order: Order::None, window: 2 };
    assert!(none.judge(&owed(), &arrivals(&whole.iter().rev().copied().collect::<Vec<_>>())).is_ok());
}
