//! Samples: when they are taken, and of what.

use jiff::SignedDuration;
use sandscope_engine::Engine as _;
use sandscope_model::{Clock as _, MetricField as F, Sample, Timestamp, Values};
use sandscope_sampler::Live;
use std::time::Duration;

use crate::house::{ASLEEP, House, LOOK};

const MB: u64 = 1 << 20;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn offsets_ms(samples: &[Sample], start: Timestamp) -> Vec<i128> {
    samples.iter().map(|sample| sample.at.duration_since(start).as_millis()).collect()
}

#[tokio::test]
async fn a_new_sandbox_has_its_first_sample_within_two_seconds_and_then_one_every_five() {
    let mut house = House::new().await;
    house.start().await;
    let start = house.clock.now();
    house.pass(ms(100)).await;
    let id = house.sandbox(2).await;
    house.runtime.set_load(&id, 0.5);
    house.runtime.set_counters(&id, |counters| {
        counters.memory_current_bytes = 100 * MB;
        counters.memory_reclaimable_bytes = 30 * MB;
        counters.memory_file_bytes = 40 * MB;
        counters.disk_available_bytes = counters.disk_total_bytes - 10 * MB;
    });
    assert!(house.samples(&id).await.is_empty());
    house.pass(ms(1_900)).await;
    let first = house.samples(&id).await;
    assert_eq!(first.len(), 1, "one before two seconds are over");
    assert_eq!(
        first[0],
        Sample {
            sandbox_id: id.clone(),
            at: first[0].at,
            values: Values::NONE
                .with(F::CpuUsed, 2500)
                .with(F::CpuCount, 2)
                .with(F::MemUsed, 70 * MB)
                .with(F::MemTotal, 512 * MB)
                .with(F::MemCache, 40 * MB)
                .with(F::DiskUsed, 10 * MB)
                .with(F::DiskTotal, 1024 * MB)
                .with(F::Interval, first[0].or_zero(F::Interval))
                .with(F::Processes, 1)
                .with(F::OomKills, 0),
        }
    );
    house.pass(ms(14_000)).await;
    let offsets = offsets_ms(&house.samples(&id).await, start);
    assert_eq!(offsets[1..], [5_000, 10_000, 15_000]);
    house.stop().await;
    assert_eq!(house.clock.n_sleepers(), 0, "nothing is left running");
}

#[tokio::test]
async fn a_paused_sandbox_has_no_samples_and_its_pause_is_in_none() {
    let mut house = House::new().await;
    house.start().await;
    let start = house.clock.now();
    let id = house.sandbox(1).await;
    house.runtime.set_load(&id, 1.0);
    house.pass(ms(6_000)).await;
    house.runtime.pause(&id).await.unwrap();
    house.pass(ms(12_000)).await;
    house.runtime.resume(&id).await.unwrap();
    house.pass(ms(4_000)).await;
    let samples = house.samples(&id).await;
    let offsets = offsets_ms(&samples, start);
    assert!(!offsets.iter().any(|offset| (6_001..=19_000).contains(offset)), "{offsets:?}");
    assert!(offsets.iter().any(|offset| *offset > 19_000), "{offsets:?}");
    assert!(samples.iter().all(|sample| sample.cpu_used_pct() == 100.0), "{samples:?}");
}

#[tokio::test]
async fn a_sandbox_the_store_does_not_know_yet_is_sampled_once_it_does() {
    let mut house = House::new().await;
    house.start().await;
    let id = house.unstored(1).await;
    house.pass(ms(6_000)).await;
    assert!(house.samples(&id).await.is_empty());
    house.store_row(&id, 1).await;
    house.pass(ms(2_000)).await;
    assert_eq!(house.samples(&id).await.len(), 1);
}

#[tokio::test]
async fn what_was_paused_or_vanished_stops_nobody_elses_samples() {
    let mut house = House::new().await;
    house.start().await;
    let (gone, stays) = (house.sandbox(1).await, house.sandbox(1).await);
    house.pass(ms(2_000)).await;
    house.runtime.vanish(&gone);
    house.pass(ms(10_000)).await;
    assert_eq!(house.samples(&gone).await.len(), 1, "what was taken stays");
    assert_eq!(house.samples(&stays).await.len(), 3);
}

#[tokio::test]
async fn every_second_is_there_for_whoever_follows_and_ticks_alone_are_stored() {
    let mut house = House::new().await;
    let live = Live::default();
    house.live = Some(live.clone());
    let id = house.sandbox(2).await;
    let mut rounds = live.follow();
    house.start().await;
    house.runtime.set_load(&id, 1.0);
    let mut shares = Vec::new();
    while shares.len() < 12 {
        house.clock.advance(LOOK);
        house.clock.wait_for_sleepers(ASLEEP).await;
        while let Ok(round) = rounds.try_recv() {
            shares.extend(round.points.iter().map(|point| point.sample.cpu_used_pct()));
        }
    }
    assert!(shares.iter().all(|pct| (*pct - 50.0).abs() < 0.1), "{shares:?}");
    assert_eq!(live.recent(&id, 100).len(), 12);
    let stored = house.store.samples.samples(&id, None, None, None).await.unwrap().len();
    assert!((2..=4).contains(&stored), "{stored} of twelve seconds");
    let counts = house.stats.counts();
    assert_eq!((counts.n_stored, counts.n_live, counts.n_lost), (u64::try_from(stored).unwrap(), 12, 0));
}

#[tokio::test]
async fn a_step_of_the_wall_clock_stops_nobodys_samples() {
    let steps = [-3_600_000, 7_200_000, -600_000].map(|ms| SignedDuration::from_millis(ms + 1_234));
    for step in steps {
        let mut house = House::new().await;
        let live = Live::default();
        house.live = Some(live.clone());
        house.start().await;
        let start = house.clock.now();
        let before = house.sandbox(1).await;
        house.runtime.set_load(&before, 0.5);
        house.pass(ms(20_000)).await;
        house.clock.step_wall(step);
        let since = house.sandbox(1).await;
        house.runtime.set_load(&since, 0.5);
        house.pass(ms(20_000)).await;
        let (samples, of_new) = (house.samples(&before).await, house.samples(&since).await);
        assert!((8..=10).contains(&samples.len()), "{step}: {:?}", offsets_ms(&samples, start));
        assert!((4..=5).contains(&of_new.len()), "{step}: {:?}", offsets_ms(&of_new, start));
        assert!(samples.iter().chain(&of_new).all(|sample| (sample.cpu_used_pct() - 50.0).abs() < 0.5));
        let labels = |sample: &Sample| {
            sample.at >= start.min(start + step) && sample.at <= house.clock.now().max(start + ms(20_000))
        };
        assert!(samples.iter().all(labels), "{step}: {:?}", offsets_ms(&samples, start));
        assert_eq!(live.newest(house.clock.uptime(), ms(2_000)).len(), 2, "{step}");
        house.stop().await;
    }
}
