use std::ops::RangeInclusive;
use std::time::Duration;

use sandscope_model::Amount;
use toml::Value;

use super::{Fault, Kind};
use crate::shape::Shape;

/// A whole number in `range`.
pub(crate) fn whole(default: u32, range: RangeInclusive<u32>) -> Kind<u32> {
    let allowed = format!("from {} to {}", range.start(), range.end());
    let wanted = allowed.clone();
    Kind {
        shape: Shape::Whole,
        allowed,
        unit: None,
        unset: default,
        secret: false,
        read: Box::new(move |value| {
            let given = value.as_integer().and_then(|given| u32::try_from(given).ok());
            given.filter(|given| range.contains(given)).ok_or_else(|| {
                Fault::Must(format!("{wanted}, not {}", value.as_integer().unwrap_or_default()))
            })
        }),
        write: Box::new(|value| Some(Value::Integer((*value).into()))),
    }
}

/// A time in whole seconds.
pub(crate) fn seconds(default: u32, range: RangeInclusive<u32>) -> Kind<Duration> {
    whole(default, range)
        .counted_in("seconds")
        .map(|s| Duration::from_secs(s.into()), |time| unsigned(time.as_secs()))
}

/// A whole number of days within `range`.
pub(crate) fn days(default: u32, range: RangeInclusive<u32>) -> Kind<u32> {
    whole(default, range).counted_in("days")
}

/// A time in whole hours, of which 0 is none.
pub(crate) fn hours_or_never(default: u32, most: u32) -> Kind<Option<Duration>> {
    whole(default, 0..=most).counted_in("hours").map(
        |hours| (hours > 0).then(|| Duration::from_secs(u64::from(hours) * 3600)),
        |time| time.map_or(0, |time| unsigned(time.as_secs() / 3600)),
    )
}

/// On or off.
pub(crate) fn switch(default: bool) -> Kind<bool> {
    Kind {
        shape: Shape::Switch,
        allowed: "true or false".to_owned(),
        unit: None,
        unset: default,
        secret: false,
        read: Box::new(|value| value.as_bool().ok_or_else(|| Fault::Must("true or false".to_owned()))),
        write: Box::new(|value| Some(Value::Boolean(*value))),
    }
}

/// At most 20 waits of at most a day.
pub(crate) fn delays(default: &[u32]) -> Kind<Vec<Duration>> {
    let time = |s: u32| Duration::from_secs(s.into());
    Kind {
        shape: Shape::Wholes,
        allowed: "at most 20 waits of at most a day".to_owned(),
        unit: Some("seconds"),
        unset: default.iter().copied().map(time).collect(),
        secret: false,
        read: Box::new(move |value| {
            let list = value.as_array().into_iter().flatten().filter_map(Value::as_integer);
            let list: Vec<u32> = list.filter_map(|wait| u32::try_from(wait).ok()).collect();
            match (list.len(), list.iter().all(|wait| *wait <= 86_400)) {
                (..=20, true) => Ok(list.into_iter().map(time).collect()),
                (_, true) => Err(Fault::Must("at most 20 waits".to_owned())),
                (_, false) => Err(Fault::Must("waits of at most a day".to_owned())),
            }
        }),
        write: Box::new(|list| {
            let wait = |time: &Duration| Value::Integer(unsigned(time.as_secs()).into());
            Some(Value::Array(list.iter().map(wait).collect()))
        }),
    }
}

/// An amount of money.
pub(crate) fn amount() -> Kind<Option<Amount>> {
    const ALLOWED: &str = "an amount from 0 to 1000000 with at most 9 digits after the point";
    Kind {
        shape: Shape::Amount,
        allowed: ALLOWED.to_owned(),
        unit: None,
        unset: None,
        secret: false,
        read: Box::new(|value| {
            let text = match value {
                Value::String(text) => text.clone(),
                // The shortest digits that mean this number: those that were written.
                Value::Float(number) => number.to_string(),
                other => other.to_string(),
            };
            text.parse().map(Some).map_err(|_| Fault::Must(ALLOWED.to_owned()))
        }),
        write: Box::new(|value| value.as_ref().map(|amount| Value::String(amount.to_string()))),
    }
}

fn unsigned(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
