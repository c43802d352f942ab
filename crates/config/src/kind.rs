//! What values a setting takes: how one is read, checked and written again.

mod network;
mod number;
mod secret;
mod text;

use std::rc::Rc;

use toml::Value;

use crate::shape::Shape;

pub(crate) use network::{address, networks, optional_address, ports, proxy, targets};
pub(crate) use number::{amount, days, delays, hours_or_never, seconds, switch, whole};
pub(crate) use secret::{api_key, keys, secrets, table_of_text, token};
pub(crate) use text::{
    choice, choices, directory, domain, labels, named, optional_file, optional_text, text,
};

/// Why a value is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// "<setting> must be …"
    Must(String),
    /// "<setting>: …", once for each.
    Says(Vec<String>),
}

/// Reads a value of the file, which has the kind's shape.
type Read<T> = Box<dyn Fn(&Value) -> Result<T, Fault>>;

/// Writes a value so that it can be read again; none where there is nothing to show.
type Write<T> = Box<dyn Fn(&T) -> Option<Value>>;

/// One kind of values.
pub(crate) struct Kind<T> {
    /// How it is written in the file.
    pub(crate) shape: Shape,
    /// Which values are taken, as in "must be …".
    pub(crate) allowed: String,
    /// What numbers of it count.
    pub(crate) unit: Option<&'static str>,
    /// What holds where nothing is given, and where something wrong is.
    pub(crate) unset: T,
    /// Whether values are shown nowhere; `write` hides them.
    pub(crate) secret: bool,
    /// From the file's value, which has the shape.
    pub(crate) read: Read<T>,
    /// As it is shown, so that it can be read again; none where there is nothing to show.
    pub(crate) write: Write<T>,
}

impl<T: Clone + 'static> Kind<T> {
    /// The same values as another type.
    pub(crate) fn map<U: 'static>(self, into: fn(T) -> U, back: fn(&U) -> T) -> Kind<U> {
        let Self { shape, allowed, unit, unset, secret, read, write } = self;
        Kind {
            shape,
            allowed,
            unit,
            unset: into(unset),
            secret,
            read: Box::new(move |value| read(value).map(into)),
            write: Box::new(move |value| write(&back(value))),
        }
    }

    /// The same, counted in `unit`.
    pub(crate) fn counted_in(self, unit: &'static str) -> Self {
        Self { unit: Some(unit), ..self }
    }
}

/// Values written as one text.
pub(crate) fn of_text<T>(
    unset: T,
    allowed: &str,
    parse: impl Fn(&str) -> Option<T> + 'static,
    print: impl Fn(&T) -> Option<String> + 'static,
) -> Kind<T> {
    let wanted: Rc<str> = allowed.into();
    Kind {
        shape: Shape::Text,
        allowed: allowed.to_owned(),
        unit: None,
        unset,
        secret: false,
        read: Box::new(move |value| {
            value.as_str().and_then(&parse).ok_or_else(|| Fault::Must(wanted.as_ref().to_owned()))
        }),
        write: Box::new(move |value| print(value).map(Value::String)),
    }
}

/// Values written as a list of texts, of which empty ones do not count.
pub(crate) fn of_texts<T>(
    unset: Vec<T>,
    allowed: &str,
    parse: impl Fn(&str) -> Result<T, Fault> + 'static,
    print: impl Fn(&T) -> String + 'static,
) -> Kind<Vec<T>> {
    Kind {
        shape: Shape::Texts,
        allowed: allowed.to_owned(),
        unit: None,
        unset,
        secret: false,
        read: Box::new(move |value| {
            let (mut found, mut says) = (Vec::new(), Vec::new());
            for text in texts(value).filter(|text| !text.is_empty()) {
                match parse(text) {
                    Ok(one) => found.push(one),
                    Err(Fault::Says(more)) => says.extend(more),
                    Err(must) => return Err(must),
                }
            }
            if says.is_empty() { Ok(found) } else { Err(Fault::Says(says)) }
        }),
        write: Box::new(move |value| {
            Some(Value::Array(value.iter().map(|one| Value::String(print(one))).collect()))
        }),
    }
}

/// The texts of a list.
pub(crate) fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}
