use crate::EventType;

/// Types of events somebody chose: each once, in the order in which they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventTypes(Vec<EventType>);

impl EventTypes {
    /// Whether `event_type` is among them.
    pub fn contains(&self, event_type: &EventType) -> bool {
        self.0.contains(event_type)
    }

    /// The types, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, EventType> {
        self.0.iter()
    }

    /// The first one given.
    pub fn first(&self) -> Option<&EventType> {
        self.0.first()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Extend<EventType> for EventTypes {
    fn extend<I: IntoIterator<Item = EventType>>(&mut self, types: I) {
        for event_type in types {
            if !self.0.contains(&event_type) {
                self.0.push(event_type);
            }
        }
    }
}

impl FromIterator<EventType> for EventTypes {
    fn from_iter<I: IntoIterator<Item = EventType>>(types: I) -> Self {
        let mut kept = Self::default();
        kept.extend(types);
        kept
    }
}

impl<const N: usize> From<[EventType; N]> for EventTypes {
    fn from(types: [EventType; N]) -> Self {
        types.into_iter().collect()
    }
}

impl<'a> IntoIterator for &'a EventTypes {
    type Item = &'a EventType;
    type IntoIter = std::slice::Iter<'a, EventType>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_kept_and_doubles_are_dropped() {
        let types = [EventType::Paused, EventType::Created, EventType::Paused];
        let kept = EventTypes::from(types);
        assert_eq!(kept.iter().copied().collect::<Vec<_>>(), [EventType::Paused, EventType::Created]);
        assert!(kept.contains(&EventType::Created) && !kept.contains(&EventType::Killed));
    }
}
