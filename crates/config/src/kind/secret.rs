use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use sandscope_model::{Secret, keys as api_keys};
use toml::{Table, Value};

use super::{Fault, Kind, of_text, texts};
use crate::shape::Shape;

/// What is shown in place of every secret.
const HIDDEN: &str = "[secret]";

fn one(allowed: &str, parse: impl Fn(&str) -> Option<Option<Secret>> + 'static) -> Kind<Option<Secret>> {
    let print = |secret: &Option<Secret>| secret.as_ref().map(|_| HIDDEN.to_owned());
    Kind { secret: true, ..of_text(None, allowed, parse, print) }
}

/// A team's key.
pub(crate) fn api_key() -> Kind<Option<Secret>> {
    one("e2b_ and 40 hexadecimal digits (lower case)", |text| {
        api_keys::is_well_formed(text).then(|| Some(Secret::new(text.to_owned())))
    })
}

/// An operator's token; an empty one is none.
pub(crate) fn token() -> Kind<Option<Secret>> {
    one("16 to 256 printable ASCII characters without spaces", |text| {
        let fine = (16..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() { Some(None) } else { fine.then(|| Some(Secret::new(text.to_owned()))) }
    })
}

/// Keys of 256 bits.
pub(crate) fn keys() -> Kind<Vec<Secret>> {
    const ALLOWED: &str = "at most 10 keys of 64 hexadecimal digits";
    Kind {
        shape: Shape::Texts,
        allowed: ALLOWED.to_owned(),
        unit: None,
        unset: Vec::new(),
        secret: true,
        read: Box::new(|value| {
            let given: Vec<&str> = texts(value).collect();
            let is_key = |key: &&str| key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
            if given.len() > 10 || !given.iter().all(is_key) {
                return Err(Fault::Must(ALLOWED.to_owned()));
            }
            Ok(given.into_iter().map(|key| Secret::new(key.to_owned())).collect())
        }),
        write: Box::new(|keys| (!keys.is_empty()).then(|| Value::Array(vec![HIDDEN.into()]))),
    }
}

/// Headers that are the product's own; `authorization` and the like are the operator's.
const RESERVED: [&str; 6] =
    ["host", "content-type", "content-encoding", "content-length", "transfer-encoding", "connection"];

/// Headers whose values are secrets.
pub(crate) fn secrets() -> Kind<HeaderMap> {
    const ALLOWED: &str = "at most 32 texts with names of headers that are not ours";
    Kind {
        shape: Shape::Table,
        allowed: ALLOWED.to_owned(),
        unit: None,
        unset: HeaderMap::new(),
        secret: true,
        // The value is not repeated: it may be a key.
        read: Box::new(|value| {
            value.as_table().and_then(headers).ok_or_else(|| Fault::Must(ALLOWED.to_owned()))
        }),
        write: Box::new(|headers| {
            let names = headers.keys().map(|name| (name.to_string(), Value::from(HIDDEN)));
            (!headers.is_empty()).then(|| Value::Table(names.collect()))
        }),
    }
}

fn headers(given: &Table) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let name: HeaderName = name.parse().ok()?;
        let mut value: HeaderValue = value.as_str()?.parse().ok()?;
        value.set_sensitive(true);
        if RESERVED.contains(&name.as_str()) {
            return None;
        }
        headers.insert(name, value);
    }
    (headers.len() <= 32).then_some(headers)
}

/// `name=value,…` as the environment has a table.
pub(crate) fn table_of_text(text: &str) -> Table {
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    let halves = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let pairs: BTreeMap<String, Value> =
        halves.map(|(name, value)| (name.trim().to_owned(), value.trim().into())).collect();
    pairs.into_iter().collect()
}
