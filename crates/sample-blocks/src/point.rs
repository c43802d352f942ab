//! A sample, or the largest and the sum of several, as it is stored and joined, field by field of the catalogue.

use std::collections::BTreeMap;

use sandscope_model::{MetricField, Sample, SandboxId, Timestamp, Values};

use crate::columns::{self, Columns, Slot};

/// Microseconds in a second.
pub const SECOND: i64 = 1_000_000;
/// Samples keep the millisecond, spans the second: finer would be noise, and noise does not compress.
const MILLISECOND: i64 = 1_000;

/// Slots of columns: the time, how many samples, and four for each field, by its id.
const TIME: u64 = 0;
const N: u64 = 1;
const ROLES: u64 = 4;
const MAX: u64 = 0;
const SUM: u64 = 1;
/// How many samples had a value, where that is not all of them.
const N_WITH: u64 = 2;

const fn slot(field: MetricField, role: u64) -> u64 {
    field.id() as u64 * ROLES + role
}

/// The order of version 1's columns.
const PLACED_SAMPLES: [u64; 8] = {
    use MetricField as F;
    [
        TIME,
        slot(F::CpuUsed, MAX),
        slot(F::CpuCount, MAX),
        slot(F::MemUsed, MAX),
        slot(F::MemTotal, MAX),
        slot(F::MemCache, MAX),
        slot(F::DiskUsed, MAX),
        slot(F::DiskTotal, MAX),
    ]
};
const PLACED_SPANS: [u64; 13] = {
    use MetricField as F;
    [
        TIME,
        N,
        slot(F::CpuCount, MAX),
        slot(F::MemTotal, MAX),
        slot(F::DiskTotal, MAX),
        slot(F::CpuUsed, MAX),
        slot(F::CpuUsed, SUM),
        slot(F::MemUsed, MAX),
        slot(F::MemUsed, SUM),
        slot(F::MemCache, MAX),
        slot(F::MemCache, SUM),
        slot(F::DiskUsed, MAX),
        slot(F::DiskUsed, SUM),
    ]
};

/// What the samples of a span said of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Cell {
    /// Samples that had a value; the rest is 0 where there are none.
    n: u64,
    max: u64,
    sum: u64,
}

impl Cell {
    fn add(&mut self, other: Self) {
        self.n = self.n.saturating_add(other.n);
        self.max = self.max.max(other.max);
        self.sum = self.sum.saturating_add(other.sum);
    }

    fn take(self, field: MetricField, aggregate: Aggregate) -> Option<u64> {
        if self.n == 0 {
            return None;
        }
        match aggregate {
            Aggregate::Average if field.kind().has_sum() => {
                // Rounded half up.
                Some(self.sum.saturating_add(self.n / 2) / self.n)
            }
            Aggregate::Average | Aggregate::Max => Some(self.max),
        }
    }
}

/// What one sample, or all samples of a span, said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// When, or the start of the span; microseconds since 1970.
    pub at: i64,
    /// Samples in it.
    n: u64,
    cells: [Cell; MetricField::COUNT],
}

/// What one value stands for the samples of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Aggregate {
    /// The largest.
    #[default]
    Max,
    /// The mean. Of totals and limits, the largest.
    Average,
}

impl Point {
    /// One sample at `at`, in microseconds since 1970.
    pub fn one(at: i64, values: &Values) -> Self {
        let mut point = Self { at, n: 1, cells: [Cell::default(); MetricField::COUNT] };
        for (field, value) in values.iter() {
            point.cells[field.index()] = Cell { n: 1, max: value, sum: value };
        }
        point
    }

    fn add(&mut self, other: &Self) {
        self.n = self.n.saturating_add(other.n);
        for (cell, other) in self.cells.iter_mut().zip(&other.cells) {
            cell.add(*other);
        }
    }

    /// The values of all fields that have one.
    pub fn values(&self, aggregate: Aggregate) -> Values {
        let numbers = MetricField::ALL.iter().zip(&self.cells);
        numbers.filter_map(|(field, cell)| Some((*field, cell.take(*field, aggregate)?))).collect()
    }

    /// As a sample; `None` for a time that cannot be.
    pub fn sample(&self, id: &SandboxId, aggregate: Aggregate) -> Option<Sample> {
        sample(id, self.at, self.values(aggregate))
    }
}

/// A sample at `at`, in microseconds since 1970; `None` for a time that cannot be.
pub fn sample(id: &SandboxId, at: i64, values: Values) -> Option<Sample> {
    Some(Sample { sandbox_id: id.clone(), at: Timestamp::from_microsecond(at).ok()?, values })
}

/// Joins points to one for each span that has any. A span without any stays a gap.
#[derive(Debug)]
pub struct Spans {
    step_usec: i64,
    spans: BTreeMap<i64, Point>,
}

impl Spans {
    /// None yet, of `step_usec` microseconds each; at least one.
    pub fn new(step_usec: i64) -> Self {
        Self { step_usec: step_usec.max(1), spans: BTreeMap::new() }
    }

    /// Adds a point to the span that it begins in.
    pub fn add(&mut self, point: &Point) {
        let start = point.at - point.at.rem_euclid(self.step_usec);
        match self.spans.get_mut(&start) {
            Some(span) => span.add(point),
            None => {
                self.spans.insert(start, Point { at: start, n: point.n, cells: point.cells });
            }
        }
    }

    /// In the order of time.
    pub fn into_points(self) -> impl Iterator<Item = Point> {
        self.spans.into_values()
    }
}

/// Samples as bytes, their times in milliseconds; `None` if they cannot be compressed.
pub fn encode_samples(points: &[Point]) -> Option<Vec<u8>> {
    let mut columns =
        vec![(TIME, points.iter().map(|point| Some(unsigned(point.at / MILLISECOND))).collect())];
    columns.extend(MetricField::ALL.iter().map(|field| {
        let value = |point: &Point| of(point, *field, |cell| cell.max);
        (slot(*field, MAX), points.iter().map(value).collect())
    }));
    columns::encode(points.len(), &columns)
}

/// Spans as bytes, their times in seconds; `None` if they cannot be compressed.
pub fn encode_spans(points: &[Point]) -> Option<Vec<u8>> {
    let column = |value: &dyn Fn(&Point) -> Option<u64>| points.iter().map(value).collect::<Vec<_>>();
    let mut columns =
        vec![(TIME, column(&|point| Some(unsigned(point.at / SECOND)))), (N, column(&|point| Some(point.n)))];
    for field in MetricField::ALL {
        columns.push((slot(*field, MAX), column(&|point| of(point, *field, |cell| cell.max))));
        if !field.kind().has_sum() {
            continue;
        }
        columns.push((slot(*field, SUM), column(&|point| of(point, *field, |cell| cell.sum))));
        let index = field.index();
        if points.iter().any(|point| ![0, point.n].contains(&point.cells[index].n)) {
            columns.push((slot(*field, N_WITH), column(&|point| of(point, *field, |cell| cell.n))));
        }
    }
    columns::encode(points.len(), &columns)
}

fn of(point: &Point, field: MetricField, value: fn(&Cell) -> u64) -> Option<u64> {
    let cell = &point.cells[field.index()];
    (cell.n > 0).then(|| value(cell))
}

/// A block whose points are made one by one.
#[derive(Debug)]
pub struct Block {
    columns: Columns,
    is_of_samples: bool,
}

/// The columns of one field.
struct OfField<'a> {
    index: usize,
    max: Slot<'a>,
    sum: Slot<'a>,
    n_with: Slot<'a>,
}

impl Block {
    /// What [`encode_samples`] wrote, in this version or version 1.
    pub fn of_samples(bytes: &[u8]) -> Option<Self> {
        Some(Self { columns: columns::decode(bytes, &PLACED_SAMPLES)?, is_of_samples: true })
    }

    /// What [`encode_spans`] wrote, in this version or version 1.
    pub fn of_spans(bytes: &[u8]) -> Option<Self> {
        Some(Self { columns: columns::decode(bytes, &PLACED_SPANS)?, is_of_samples: false })
    }

    /// Every point that lies between `start` and `end`, both inclusive. `None` if one has no time that can be.
    pub fn each(&self, (start, end): (i64, i64), mut take: impl FnMut(Point)) -> Option<()> {
        let fields: Vec<OfField<'_>> = MetricField::ALL
            .iter()
            .map(|field| OfField {
                index: field.index(),
                max: self.columns.slot(slot(*field, MAX)),
                sum: self.columns.slot(slot(*field, SUM)),
                n_with: self.columns.slot(slot(*field, N_WITH)),
            })
            .filter(|of| of.max.is_there())
            .collect();
        let (time, n) = (self.columns.slot(TIME), self.columns.slot(N));
        let unit = if self.is_of_samples { MILLISECOND } else { SECOND };
        for row in 0..self.columns.n_rows() {
            let at = i64::try_from(time.get(row)?).ok()?.checked_mul(unit)?;
            if !(start..=end).contains(&at) {
                continue;
            }
            let n = if self.is_of_samples { 1 } else { n.get(row)? };
            let mut point = Point { at, n, cells: [Cell::default(); MetricField::COUNT] };
            for of in &fields {
                let Some(max) = of.max.get(row) else { continue };
                let sum = of.sum.get(row).unwrap_or(max);
                point.cells[of.index] = Cell { n: of.n_with.get(row).unwrap_or(n), max, sum };
            }
            take(point);
        }
        Some(())
    }
}

/// Times before 1970 are no samples'.
fn unsigned(time: i64) -> u64 {
    u64::try_from(time).unwrap_or(0)
}

#[cfg(test)]
#[path = "point_tests.rs"]
mod tests;
