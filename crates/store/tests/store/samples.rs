//! Samples, their steps and retention of everything that is not the log.

use crate::support::{House, at};
use sandscope_model::{KillReason, MetricField as F, Sample, SandboxId, State, Timestamp, Values};
use sandscope_store::{Aggregate, Change, Removed};

fn sample(id: &SandboxId, at: Timestamp, n: u64) -> Sample {
    Sample {
        sandbox_id: id.clone(),
        at,
        values: Values::NONE
            .with(F::CpuUsed, 1_234)
            .with(F::CpuCount, 2)
            .with(F::MemUsed, n)
            .with(F::MemTotal, 512 << 20)
            .with(F::MemCache, 1_000 - n)
            .with(F::DiskUsed, n)
            .with(F::DiskTotal, 1 << 40)
            .with(F::NetReceived, n * 3),
    }
}

#[tokio::test]
async fn ranges_are_inclusive_and_steps_take_the_largest() {
    let house = House::new().await;
    let (one, two) = (crate::support::sandbox_id(), crate::support::sandbox_id());
    let samples: Vec<_> = (0_u32..12).map(|n| sample(&one, at(5 * i64::from(n)), u64::from(n))).collect();
    house.store.samples.insert_samples(samples.clone()).await.unwrap();
    house.store.samples.insert_samples(vec![sample(&two, at(7), 1)]).await.unwrap();
    assert_eq!(house.store.samples.samples(&one, None, None, None).await.unwrap(), samples);
    let range = house.store.samples.samples(&one, Some(at(5)), Some(at(15)), None).await.unwrap();
    assert_eq!(range, samples[1..=3]);
    // The clock of these tests starts at a multiple of 20 seconds.
    let stepped = house.store.samples.samples(&one, Some(at(5)), None, Some(20)).await.unwrap();
    let expected: Vec<_> = [(0, 3, 999), (20, 7, 996), (40, 11, 992)]
        .into_iter()
        .map(|(second, used, cache)| {
            let sample = sample(&one, at(second), used);
            Sample { values: sample.values.with(F::MemCache, cache), ..sample }
        })
        .collect();
    assert_eq!(stepped, expected);
    assert_eq!(house.store.samples.sample_range(&one).await.unwrap(), Some((at(0), at(55))));
    let unknown = crate::support::sandbox_id();
    assert_eq!(house.store.samples.sample_range(&unknown).await.unwrap(), None);
    assert_eq!(house.store.samples.samples(&unknown, None, None, Some(5)).await.unwrap(), []);
    let latest = house.store.samples.latest_samples(&[two.clone(), unknown, one.clone()]).await.unwrap();
    assert_eq!(latest, [sample(&two, at(7), 1), samples[11].clone()]);
}

#[tokio::test]
async fn what_an_engine_does_not_report_has_no_value_in_a_row_and_in_a_block() {
    let house = House::new().await;
    let id = crate::support::sandbox_id();
    let of = |second, values| Sample { sandbox_id: id.clone(), at: at(second), values };
    let most = i64::MAX.unsigned_abs();
    let rare = Values::NONE.with(F::MemUsed, most).with(F::DiskRead, 9).with(F::OomKills, 1);
    let samples = [of(0, Values::NONE), of(5, rare), of(10, Values::NONE.with(F::DiskRead, 1))];
    house.store.samples.insert_samples(samples.to_vec()).await.unwrap();
    assert_eq!(house.store.samples.samples(&id, None, None, None).await.unwrap(), samples);
    house.store.samples.seal_samples(at(2 * 3600)).await.unwrap();
    assert_eq!(house.store.samples.samples(&id, None, None, None).await.unwrap(), samples);
    let mean =
        house.store.samples.aggregated_samples(&id, None, None, Some(300), Aggregate::Average).await.unwrap();
    assert_eq!(mean[0].values, rare.with(F::DiskRead, 5));
}

#[tokio::test]
async fn old_samples_sandboxes_and_keys_go() {
    let house = House::new().await;
    let day = 24 * 3600;
    let old = crate::support::sandbox_id();
    let samples = (0..1_300).map(|n| sample(&old, at(n), 1)).collect();
    house.store.samples.insert_samples(samples).await.unwrap();
    for _ in 0..130 {
        house
            .store
            .samples
            .insert_samples(vec![sample(&crate::support::sandbox_id(), at(8 * day), 1)])
            .await
            .unwrap();
    }
    let late = crate::support::sandbox_id();
    house
        .store
        .samples
        .insert_samples(vec![sample(&late, at(10), 1), sample(&late, at(8 * day), 2)])
        .await
        .unwrap();

    let mut killed = house.running(0).await;
    killed.state = State::Killed {
        reason: KillReason::Request,
        exit: None,
        killed_at: at(100),
        last_execution_id: killed.state.execution_id(),
    };
    house.store.facts.commit(Change { sandbox: killed.clone(), event: None, snapshot: None }).await.unwrap();
    let running = house.running(0).await;

    let removed = house.store.facts.delete_expired(at(7 * day + 1_000)).await.unwrap();
    assert_eq!(removed, Removed { sandboxes: 1, events: 2, ..Removed::default() });
    assert_eq!(house.store.samples.delete_expired(at(7 * day + 1_000)).await.unwrap(), 1_001);
    assert_eq!(house.store.facts.sandbox(&killed.id).await.unwrap(), None);
    assert!(house.store.facts.sandbox(&running.id).await.unwrap().is_some());
    assert_eq!(house.store.samples.sample_range(&late).await.unwrap(), Some((at(8 * day), at(8 * day))));
    assert_eq!(house.store.facts.delete_expired(at(8 * day)).await.unwrap(), Removed::default());
    assert_eq!(house.store.samples.delete_expired(at(8 * day)).await.unwrap(), 300);
    assert_eq!(house.store.samples.sample_range(&old).await.unwrap(), None);
}
