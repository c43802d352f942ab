//! Samples sealed into blocks: nothing lost, nothing changed, dropped whole.

use std::time::Duration;

use sandscope_model::{MetricField as F, Sample, SandboxId, Timestamp, Values};
use sandscope_store::{Aggregate, SampleRetention, Sealed, Store};

use crate::support::{House, at, sandbox_id};

/// The clock of these tests starts somewhere within an hour: this is the start of the next.
fn hour_start() -> i64 {
    3600 - at(0).as_second().rem_euclid(3600)
}

fn sample(id: &SandboxId, at: Timestamp, n: u64) -> Sample {
    Sample {
        sandbox_id: id.clone(),
        at,
        values: Values::NONE
            .with(F::CpuUsed, n * 7 % 10_000)
            .with(F::CpuCount, 2)
            .with(F::MemUsed, n * 4096 % 100_000_000)
            .with(F::MemTotal, 512 << 20)
            .with(F::MemCache, n % 13 * 4096)
            .with(F::DiskUsed, n / 9 * 4096)
            .with(F::DiskTotal, 1 << 30)
            .with(F::CpuStalled, n % 3)
            .with(F::Processes, (n % 100 != 7).then_some(3)),
    }
}

/// A sandbox sampled every five seconds for `hours`, paused in the middle of each.
fn history(id: &SandboxId, hours: i64) -> Vec<Sample> {
    (0..hours * 720)
        .filter(|n| !(300..400).contains(&(n % 720)))
        .map(|n| sample(id, at(hour_start() + n * 5), u64::try_from(n).unwrap()))
        .collect()
}

async fn answers(store: &Store, id: &SandboxId) -> Vec<Vec<Sample>> {
    let start = hour_start();
    let mut answers = Vec::new();
    for step in [None, Some(5), Some(30), Some(60), Some(120), Some(300), Some(900)] {
        for (from, to) in
            [(None, None), (Some(17), Some(5_003)), (Some(1_500), Some(1_501)), (Some(31), None)]
        {
            for aggregate in [Aggregate::Max, Aggregate::Average] {
                let time = |second: Option<i64>| second.map(|second| at(start + second));
                answers.push(
                    store
                        .samples
                        .aggregated_samples(id, time(from), time(to), step, aggregate)
                        .await
                        .unwrap(),
                );
            }
        }
    }
    answers
}

#[tokio::test]
async fn what_is_sealed_answers_as_before() {
    let house = House::new().await;
    let (one, two) = (sandbox_id(), sandbox_id());
    let samples = history(&one, 3);
    house.store.samples.insert_samples(samples.clone()).await.unwrap();
    house.store.samples.insert_samples(history(&two, 1)).await.unwrap();
    let before = answers(&house.store, &one).await;
    let range = house.store.samples.sample_range(&one).await.unwrap();
    assert_eq!(before[0], samples);
    let gaps = before[0].windows(2).filter(|two| two[1].at.as_second() - two[0].at.as_second() > 5).count();
    assert_eq!(gaps, 3, "gaps stay gaps");

    // Half of the third hour is not over.
    let now = at(hour_start() + 2 * 3600 + 1_800);
    let Sealed { samples: n, bytes } = house.store.samples.seal_samples(now).await.unwrap();
    assert_eq!(n, 3 * 620);
    assert!(bytes < n * 10, "{bytes} bytes for {n} samples with all their levels");
    assert_eq!(answers(&house.store, &one).await, before);
    assert_eq!(house.store.samples.sample_range(&one).await.unwrap(), range);
    assert_eq!(
        house.store.samples.seal_samples(now).await.unwrap(),
        Sealed::default(),
        "nothing is left to seal"
    );

    house.store.samples.seal_samples(at(hour_start() + 4 * 3600)).await.unwrap();
    assert_eq!(answers(&house.store, &one).await, before);
    let latest = house.store.samples.latest_samples(&[one.clone(), two]).await.unwrap();
    assert_eq!(latest[0], samples[samples.len() - 1]);
    assert_eq!(latest[1].at, at(hour_start() + 719 * 5));
}

#[tokio::test]
async fn an_hour_waits_a_minute_for_latecomers_and_takes_later_ones_as_well() {
    let house = House::new().await;
    let id = sandbox_id();
    house.store.samples.insert_samples(history(&id, 1)).await.unwrap();
    let over = hour_start() + 3600;
    assert_eq!(house.store.samples.seal_samples(at(over + 59)).await.unwrap().samples, 0);
    assert_eq!(house.store.samples.seal_samples(at(over + 60)).await.unwrap().samples, 620);
    let late = sample(&id, at(hour_start() + 1_600), 9_999);
    house.store.samples.insert_samples(vec![late.clone()]).await.unwrap();
    for _ in 0..2 {
        let found = house.store.samples.samples(&id, None, None, Some(300)).await.unwrap();
        let span = found.iter().find(|span| span.at == at(hour_start() + 1_500)).unwrap();
        assert!(span.or_zero(F::MemUsed) >= late.or_zero(F::MemUsed));
        assert!(house.store.samples.samples(&id, None, None, None).await.unwrap().contains(&late));
        house.store.samples.seal_samples(at(over + 3_700)).await.unwrap();
    }
}

#[tokio::test]
async fn blocks_go_whole_by_age_samples_before_their_spans() {
    let house = House::new().await;
    let (old, new) = (sandbox_id(), sandbox_id());
    house.store.samples.insert_samples(history(&old, 2)).await.unwrap();
    let day = 24 * 3600;
    let later = sample(&new, at(hour_start() + 8 * day), 5);
    house.store.samples.insert_samples(vec![later.clone()]).await.unwrap();
    house.store.samples.seal_samples(at(hour_start() + 9 * day)).await.unwrap();
    let retention = SampleRetention::default();
    let now = at(hour_start() + 7 * day + 3_590);
    assert_eq!(
        house.store.samples.drop_samples(now, &retention).await.unwrap(),
        0,
        "its last sample is not old yet"
    );
    let now = at(hour_start() + 8 * day);
    assert_eq!(house.store.samples.drop_samples(now, &retention).await.unwrap(), 2 * 620);
    assert!(house.store.samples.samples(&old, None, None, None).await.unwrap().is_empty());
    let spans = house.store.samples.samples(&old, None, None, Some(900)).await.unwrap();
    assert_eq!(spans.len(), 8, "the spans tell the shape of it still");
    let (first, _) = house.store.samples.sample_range(&old).await.unwrap().unwrap();
    assert_eq!(first, at(hour_start()));
    house.store.samples.drop_samples(at(hour_start() + 31 * day), &retention).await.unwrap();
    assert_eq!(house.store.samples.sample_range(&old).await.unwrap(), None);
    assert_eq!(house.store.samples.latest_samples(&[old, new]).await.unwrap(), []);
}

#[tokio::test]
async fn the_file_stays_as_small_as_it_must_the_oldest_goes_first() {
    let house = House::new().await;
    let ids: Vec<_> = (0..40).map(|_| sandbox_id()).collect();
    for (n, id) in ids.iter().enumerate() {
        let shift = i64::try_from(n).unwrap() * 3600;
        // As unlike each other as real ones: what is packed into less than a page frees no page when it goes.
        let samples: Vec<_> = history(id, 1)
            .into_iter()
            .zip(1_u64..)
            .map(|(old, n)| {
                let at = at(old.at.as_second() - at(0).as_second() + shift);
                sample(id, at, n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32)
            })
            .collect();
        house.store.samples.insert_samples(samples).await.unwrap();
    }
    let sealed = house.store.samples.seal_samples(at(hour_start() + 50 * 3600)).await.unwrap();
    // Three levels, of which the samples are the largest.
    let max_bytes = sealed.bytes * 3 / 4;
    let retention = SampleRetention {
        samples: Duration::from_secs(365 * 24 * 3600),
        spans: Duration::from_secs(365 * 24 * 3600),
        max_bytes: Some(max_bytes),
    };
    assert!(house.store.samples.drop_samples(at(hour_start() + 50 * 3600), &retention).await.unwrap() > 0);
    let has =
        async |id: &SandboxId| !house.store.samples.samples(id, None, None, None).await.unwrap().is_empty();
    let mut kept = Vec::new();
    for id in &ids {
        kept.push(has(id).await);
    }
    assert!(!kept[0] && kept[39], "{kept:?}");
    assert!(kept.is_sorted(), "the oldest go first: {kept:?}");
    assert!(!house.store.samples.samples(&ids[0], None, None, Some(900)).await.unwrap().is_empty());
}
