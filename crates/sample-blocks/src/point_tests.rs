use proptest::prelude::*;

use super::*;

const EACH: (i64, i64) = (i64::MIN, i64::MAX);

fn read(block: Option<Block>) -> Vec<Point> {
    let mut points = Vec::new();
    block.unwrap().each(EACH, |point| points.push(point)).unwrap();
    points
}

prop_compose! {
    /// Whatever a kernel may say, with gaps anywhere: some fields in no sample, some in a few.
    fn any_samples()(
        shape in proptest::collection::vec(0_u8..4, MetricField::COUNT),
        rows in proptest::collection::vec(
            (0_i64..120_000, proptest::collection::vec((any::<u32>(), 0_u8..3), MetricField::COUNT)),
            1..80,
        ),
    ) -> Vec<Point> {
        let mut samples: Vec<Point> = rows.into_iter().map(|(at, numbers)| {
            let number = |(field, (number, dice)): (&MetricField, (u32, u8))| {
                let is_there = match shape[field.index()] {
                    0 => false,
                    1 => dice == 0,
                    _ => true,
                };
                let number = if shape[field.index()] == 3 { 7 } else { u64::from(number) };
                is_there.then_some((*field, number))
            };
            let values = MetricField::ALL.iter().zip(numbers).filter_map(number).collect();
            Point::one(at * MILLISECOND, &values)
        }).collect();
        samples.sort_by_key(|point| point.at);
        samples
    }
}

fn join(points: &[Point], step_usec: i64) -> Vec<Point> {
    let mut spans = Spans::new(step_usec);
    points.iter().for_each(|point| spans.add(point));
    spans.into_points().collect()
}

fn answers(points: &[Point]) -> Vec<(i64, Values, Values)> {
    let answer = |point: &Point| (point.at, point.values(Aggregate::Max), point.values(Aggregate::Average));
    points.iter().map(answer).collect()
}

proptest! {
    #[test]
    fn samples_and_spans_come_back_as_they_were(samples in any_samples()) {
        let bytes = encode_samples(&samples).unwrap();
        prop_assert_eq!(read(Block::of_samples(&bytes)), samples.clone());
        for level in [30, 300] {
            let spans = join(&samples, level * SECOND);
            let bytes = encode_spans(&spans).unwrap();
            let found = read(Block::of_spans(&bytes));
            prop_assert_eq!(answers(&found), answers(&spans));
            // Rolled up again from the level they answer as the samples do.
            prop_assert_eq!(answers(&join(&found, 900 * SECOND)), answers(&join(&samples, 900 * SECOND)));
        }
    }
}

#[test]
fn a_mean_is_of_the_samples_that_had_a_value() {
    let with = Values::NONE.with(MetricField::DiskRead, 10_u64).with(MetricField::OomKills, 3_u64);
    let samples = [Point::one(0, &with), Point::one(SECOND, &Values::NONE), Point::one(2 * SECOND, &with)];
    let spans = join(&samples, 30 * SECOND);
    let found = read(Block::of_spans(&encode_spans(&spans).unwrap()));
    assert_eq!(found[0].values(Aggregate::Average), with);
    assert_eq!(found[0].values(Aggregate::Max).get(MetricField::CpuUsed), None);
}
