use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Value;

use super::{Fault, Kind, of_text, of_texts};
use crate::Domain;
use crate::shape::Shape;

/// Any text that `is_fine`.
pub(crate) fn text(default: &str, allowed: &str, is_fine: fn(&str) -> bool) -> Kind<String> {
    let parse = move |text: &str| is_fine(text).then(|| text.to_owned());
    of_text(default.to_owned(), allowed, parse, |text: &String| Some(text.clone()))
}

/// Any text, of which the empty one is none.
pub(crate) fn optional_text(allowed: &str) -> Kind<Option<String>> {
    let parse = |text: &str| Some((!text.is_empty()).then(|| text.to_owned()));
    of_text(None, allowed, parse, |text: &Option<String>| text.clone())
}

/// A short name.
pub(crate) fn named() -> Kind<Option<String>> {
    let parse = |text: &str| {
        let fine = (1..=16).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        fine.then(|| Some(text.to_owned()))
    };
    of_text(None, "a name of 1 to 16 characters", parse, |text: &Option<String>| text.clone())
}

/// One of a few words.
pub(crate) fn choice<T>(
    default: T,
    allowed: &str,
    parse: fn(&str) -> Option<T>,
    print: fn(&T) -> &'static str,
) -> Kind<T>
where
    T: 'static,
{
    of_text(default, allowed, parse, move |value| Some(print(value).to_owned()))
}

/// Some of a few words, at least one.
pub(crate) fn choices<T>(
    default: Vec<T>,
    allowed: &'static str,
    parse: fn(&str) -> Option<T>,
    print: fn(&T) -> &'static str,
) -> Kind<Vec<T>>
where
    T: 'static,
{
    let one = move |text: &str| parse(text).ok_or_else(|| Fault::Must(allowed.to_owned()));
    let kind = of_texts(default, allowed, one, move |value| print(value).to_owned());
    let read = kind.read;
    let some = move |value: &Value| {
        read(value)
            .and_then(|list| if list.is_empty() { Err(Fault::Must(allowed.to_owned())) } else { Ok(list) })
    };
    Kind { read: Box::new(some), ..kind }
}

/// A directory.
pub(crate) fn directory(default: &str) -> Kind<PathBuf> {
    let parse = |text: &str| (!text.is_empty()).then(|| text.into());
    of_text(default.into(), "a directory", parse, |path: &PathBuf| Some(shown(path)))
}

/// A file, or none.
pub(crate) fn optional_file() -> Kind<Option<PathBuf>> {
    let parse = |text: &str| Some((!text.is_empty()).then(|| text.into()));
    of_text(None, "a file", parse, |path: &Option<PathBuf>| path.as_deref().map(shown))
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The domain clients know the server by.
pub(crate) fn domain() -> Kind<Domain> {
    const ALLOWED: &str = "a host name of letters, digits, hyphens and dots, with or without a port";
    let local = Domain { name: Domain::LOCAL.to_owned(), port: None };
    of_text(local, ALLOWED, |text| text.parse().ok(), |domain| Some(domain.to_string()))
}

/// At most 32 texts by name.
pub(crate) fn labels() -> Kind<BTreeMap<String, String>> {
    const ALLOWED: &str = "at most 32 texts with names of 1 to 128 bytes";
    Kind {
        shape: Shape::Table,
        allowed: ALLOWED.to_owned(),
        unit: None,
        unset: BTreeMap::new(),
        secret: false,
        read: Box::new(|value| {
            let pairs = value.as_table().into_iter().flatten();
            let labels: BTreeMap<String, String> =
                pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
            let fine =
                |(key, value): (&String, &String)| (1..=128).contains(&key.len()) && value.len() <= 1024;
            if labels.len() <= 32 && labels.iter().all(fine) {
                Ok(labels)
            } else {
                Err(Fault::Must(ALLOWED.to_owned()))
            }
        }),
        write: Box::new(|labels| {
            let pairs = labels.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str())));
            (!labels.is_empty()).then(|| Value::Table(pairs.collect()))
        }),
    }
}
