//! A sample, or the largest and the sum of several, as it is stored and joined. Pure.

use std::collections::BTreeMap;

use sandscope_model::{Sample, SandboxId, Timestamp};

use crate::columns;

/// Microseconds in a second.
pub(crate) const SECOND: i64 = 1_000_000;

/// What one sample, or all samples of a span, said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    /// When, or the start of the span; microseconds since 1970.
    pub(crate) at: i64,
    /// Samples in it.
    pub(crate) n: u64,
    pub(crate) cpu_count: u64,
    pub(crate) mem_total: u64,
    pub(crate) disk_total: u64,
    /// Hundredths of a percent.
    pub(crate) cpu: Values,
    pub(crate) mem_used: Values,
    pub(crate) mem_cache: Values,
    pub(crate) disk_used: Values,
}

/// Of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Values {
    pub(crate) max: u64,
    pub(crate) sum: u64,
}

impl Values {
    pub(crate) const fn one(value: u64) -> Self {
        Self { max: value, sum: value }
    }

    fn add(&mut self, other: Self) {
        self.max = self.max.max(other.max);
        self.sum = self.sum.saturating_add(other.sum);
    }

    const fn take(self, aggregate: Aggregate, n: u64) -> u64 {
        match aggregate {
            Aggregate::Max => self.max,
            // Rounded half up; a point has a sample at least.
            Aggregate::Average => (self.sum.saturating_add(n / 2)) / if n == 0 { 1 } else { n },
        }
    }
}

/// What one value stands for the samples of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Aggregate {
    /// The largest.
    #[default]
    Max,
    /// The mean.
    Average,
}

impl Point {
    fn add(&mut self, other: &Self) {
        self.n = self.n.saturating_add(other.n);
        self.cpu_count = self.cpu_count.max(other.cpu_count);
        self.mem_total = self.mem_total.max(other.mem_total);
        self.disk_total = self.disk_total.max(other.disk_total);
        self.cpu.add(other.cpu);
        self.mem_used.add(other.mem_used);
        self.mem_cache.add(other.mem_cache);
        self.disk_used.add(other.disk_used);
    }

    /// As a sample; `None` for a time that cannot be.
    pub(crate) fn sample(&self, id: &SandboxId, aggregate: Aggregate) -> Option<Sample> {
        let take = |values: Values| values.take(aggregate, self.n);
        let centi_pct = u32::try_from(take(self.cpu)).unwrap_or(u32::MAX);
        Some(Sample {
            sandbox_id: id.clone(),
            at: Timestamp::from_microsecond(self.at).ok()?,
            cpu_used_pct: f64::from(centi_pct) / 100.0,
            cpu_count: u32::try_from(self.cpu_count).unwrap_or(u32::MAX),
            mem_used_bytes: take(self.mem_used),
            mem_total_bytes: self.mem_total,
            mem_cache_bytes: take(self.mem_cache),
            disk_used_bytes: take(self.disk_used),
            disk_total_bytes: self.disk_total,
        })
    }
}

/// Joins points to one for each span of `step_usec` that has any, in the order of time. A span without any stays a
/// gap.
pub(crate) fn join(points: impl IntoIterator<Item = Point>, step_usec: i64) -> Vec<Point> {
    let mut spans: BTreeMap<i64, Point> = BTreeMap::new();
    for point in points {
        let start = point.at - point.at.rem_euclid(step_usec.max(1));
        spans.entry(start).and_modify(|span| span.add(&point)).or_insert(Point { at: start, ..point });
    }
    spans.into_values().collect()
}

const SAMPLE_COLUMNS: usize = 8;
const SPAN_COLUMNS: usize = 13;
/// Samples keep the millisecond, spans the second: finer would be noise, and noise does not compress.
const MILLISECOND: i64 = 1_000;

/// Samples as bytes.
pub(crate) fn encode_samples(points: &[Point]) -> Option<Vec<u8>> {
    let column = |value: fn(&Point) -> u64| points.iter().map(value).collect::<Vec<_>>();
    columns::encode(&[
        column(|point| unsigned(point.at / MILLISECOND)),
        column(|point| point.cpu.max),
        column(|point| point.cpu_count),
        column(|point| point.mem_used.max),
        column(|point| point.mem_total),
        column(|point| point.mem_cache.max),
        column(|point| point.disk_used.max),
        column(|point| point.disk_total),
    ])
}

/// What [`encode_samples`] wrote.
pub(crate) fn decode_samples(bytes: &[u8]) -> Option<Vec<Point>> {
    let columns = columns::decode(bytes, SAMPLE_COLUMNS)?;
    let rows = columns.first()?.len();
    let row = |row: usize| {
        let cell = |column: usize| columns.get(column)?.get(row).copied();
        Some(Point {
            at: i64::try_from(cell(0)?).ok()?.checked_mul(MILLISECOND)?,
            n: 1,
            cpu: Values::one(cell(1)?),
            cpu_count: cell(2)?,
            mem_used: Values::one(cell(3)?),
            mem_total: cell(4)?,
            mem_cache: Values::one(cell(5)?),
            disk_used: Values::one(cell(6)?),
            disk_total: cell(7)?,
        })
    };
    (0..rows).map(row).collect()
}

/// Spans as bytes.
pub(crate) fn encode_spans(points: &[Point]) -> Option<Vec<u8>> {
    let column = |value: fn(&Point) -> u64| points.iter().map(value).collect::<Vec<_>>();
    columns::encode(&[
        column(|point| unsigned(point.at / SECOND)),
        column(|point| point.n),
        column(|point| point.cpu_count),
        column(|point| point.mem_total),
        column(|point| point.disk_total),
        column(|point| point.cpu.max),
        column(|point| point.cpu.sum),
        column(|point| point.mem_used.max),
        column(|point| point.mem_used.sum),
        column(|point| point.mem_cache.max),
        column(|point| point.mem_cache.sum),
        column(|point| point.disk_used.max),
        column(|point| point.disk_used.sum),
    ])
}

/// What [`encode_spans`] wrote.
pub(crate) fn decode_spans(bytes: &[u8]) -> Option<Vec<Point>> {
    let columns = columns::decode(bytes, SPAN_COLUMNS)?;
    let rows = columns.first()?.len();
    let row = |row: usize| {
        let cell = |column: usize| columns.get(column)?.get(row).copied();
        let values = |column: usize| Some(Values { max: cell(column)?, sum: cell(column + 1)? });
        Some(Point {
            at: i64::try_from(cell(0)?).ok()?.checked_mul(SECOND)?,
            n: cell(1)?,
            cpu_count: cell(2)?,
            mem_total: cell(3)?,
            disk_total: cell(4)?,
            cpu: values(5)?,
            mem_used: values(7)?,
            mem_cache: values(9)?,
            disk_used: values(11)?,
        })
    };
    (0..rows).map(row).collect()
}

/// Times before 1970 are no samples'.
fn unsigned(time: i64) -> u64 {
    u64::try_from(time).unwrap_or(0)
}
