//! Groups of sandboxes that were reported once: a series that vanished when its last sandbox ended would leave graphs and
//! rules without a zero.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use sandscope_sampler::{FleetGroup, FleetLabels, MAX_GROUPS};

/// The groups so far.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<BTreeSet<FleetLabels>>);

impl Seen {
    /// Adds groups of before to those of now, with zeros, and remembers those of now: [`MAX_GROUPS`] in all, those of now
    /// first. `other` is there from the start.
    pub(super) fn keep(&self, groups: &mut BTreeMap<FleetLabels, FleetGroup>) {
        // Poisoned or not, it is a set.
        let mut seen = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for labels in groups.keys() {
            if seen.len() < MAX_GROUPS {
                seen.insert(labels.clone());
            }
        }
        for labels in seen.iter() {
            if groups.len() < MAX_GROUPS {
                groups.entry(labels.clone()).or_default();
            }
        }
        groups.entry(("other".to_owned(), "other".to_owned())).or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(n: usize) -> FleetLabels {
        ("team".to_owned(), n.to_string())
    }

    #[test]
    fn what_was_there_stays_with_zeros_within_bounds() {
        let seen = Seen::default();
        let mut groups = BTreeMap::new();
        seen.keep(&mut groups);
        assert_eq!(groups.len(), 1, "there is a zero from the start");
        let mut groups = BTreeMap::from([(labels(0), FleetGroup { cpus: 1.0, ..FleetGroup::default() })]);
        seen.keep(&mut groups);
        let mut later = BTreeMap::new();
        seen.keep(&mut later);
        assert_eq!(later.get(&labels(0)), Some(&FleetGroup::default()));
        for n in 0..3 * MAX_GROUPS {
            let mut groups = BTreeMap::from([(labels(n), FleetGroup::default())]);
            seen.keep(&mut groups);
            assert!(groups.contains_key(&labels(n)) && groups.len() <= MAX_GROUPS + 1, "{n}");
        }
    }
}
