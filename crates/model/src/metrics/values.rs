//! Some of the catalogue's numbers at once, without an allocation.

use std::fmt;

use super::MetricField;

/// A number or none for each field of the catalogue.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Values {
    /// A bit for each field that has a number.
    present: u64,
    /// Zero where there is none.
    numbers: [u64; MetricField::COUNT],
}

impl Values {
    /// Not one number.
    pub const NONE: Self = Self { present: 0, numbers: [0; MetricField::COUNT] };

    /// The field's number.
    pub const fn get(&self, field: MetricField) -> Option<u64> {
        let index = field.index();
        if self.present >> index & 1 == 1 { Some(self.numbers[index]) } else { None }
    }

    /// Sets the field's number, or takes it away.
    pub fn set(&mut self, field: MetricField, number: impl Into<Option<u64>>) {
        let (index, bit) = (field.index(), 1 << field.index());
        match number.into() {
            Some(number) => {
                self.present |= bit;
                self.numbers[index] = number;
            }
            None => {
                self.present &= !bit;
                self.numbers[index] = 0;
            }
        }
    }

    /// With the field's number set.
    #[must_use]
    pub fn with(mut self, field: MetricField, number: impl Into<Option<u64>>) -> Self {
        self.set(field, number);
        self
    }

    /// Whether there is no number at all.
    pub const fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// The fields that have a number, in the catalogue's order.
    pub fn iter(&self) -> impl Iterator<Item = (MetricField, u64)> + '_ {
        MetricField::ALL.iter().filter_map(|field| Some((*field, self.get(*field)?)))
    }
}

impl Default for Values {
    fn default() -> Self {
        Self::NONE
    }
}

impl FromIterator<(MetricField, u64)> for Values {
    fn from_iter<I: IntoIterator<Item = (MetricField, u64)>>(numbers: I) -> Self {
        numbers.into_iter().fold(Self::NONE, |values, (field, number)| values.with(field, number))
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(field, number)| (field.entry().name, number))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_taken_away_leaves_no_trace() {
        let mut values = Values::NONE.with(MetricField::OomKills, 0).with(MetricField::CpuUsed, 7);
        assert_eq!((values.get(MetricField::OomKills), values.get(MetricField::MemUsed)), (Some(0), None));
        assert_eq!(values.iter().collect::<Values>(), values);
        values.set(MetricField::CpuUsed, None);
        assert_eq!(values, Values::NONE.with(MetricField::OomKills, 0));
        assert_eq!(format!("{values:?}"), r#"{"oom_kills": 0}"#);
    }
}
