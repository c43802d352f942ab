//! Query strings: read once, asked by name, refused with a sentence that names the parameter.

use std::ops::RangeInclusive;

use axum::extract::FromRequestParts;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use sandscope_model::{Timestamp, when};
use sandscope_store::Order;

use crate::App;
use crate::error::ApiError;

/// A query string's parameters, decoded, in order.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl FromRequestParts<App> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        Self::parse(parts.uri.query().unwrap_or_default())
    }
}

impl Query {
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        text.split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let mut name = decode(name)?;
                // How many libraries spell a list: `types[]=a&types[]=b`.
                if let Some(plain) = name.strip_suffix("[]") {
                    name.truncate(plain.len());
                }
                Ok((name, decode(value)?))
            })
            .collect::<Result<_, ApiError>>()
            .map(Self)
    }

    /// The first parameter of that name.
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|(found, value)| (found == name).then_some(value.as_str()))
    }

    /// All values of that name, repeated or joined by commas.
    pub(crate) fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(found, _)| found == name)
            .flat_map(|(_, value)| value.split(','))
            .map(str::trim)
            .filter(|value| !value.is_empty())
    }

    /// A whole number within `bounds`.
    pub(crate) fn integer(&self, name: &str, bounds: RangeInclusive<i64>) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.first(name) else { return Ok(None) };
        let label = capitalised(name);
        let value: i64 =
            text.parse().map_err(|_| ApiError::bad_request(format!("{label} must be an integer")))?;
        if value < *bounds.start() {
            Err(ApiError::bad_request(format!("{label} must be at least {}", bounds.start())))
        } else if value > *bounds.end() {
            Err(ApiError::bad_request(format!("{label} must not exceed {}", bounds.end())))
        } else {
            Ok(Some(value))
        }
    }

    /// `limit`: 1 to 100.
    pub(crate) fn limit(&self, default: u32) -> Result<u32, ApiError> {
        let limit = self.integer("limit", 1..=100)?;
        Ok(limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(default))
    }

    /// `true` or `false`; `false` if not given.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.first(name) {
            None | Some("false" | "False" | "0") => Ok(false),
            Some("true" | "True" | "1") => Ok(true),
            Some(_) => Err(ApiError::bad_request(format!("{} must be true or false", capitalised(name)))),
        }
    }

    /// A time in every form there is: RFC 3339, seconds since 1970, or an age at `now`.
    pub(crate) fn moment(&self, name: &str, now: Timestamp) -> Result<Option<Timestamp>, ApiError> {
        let Some(text) = self.first(name) else { return Ok(None) };
        let message = || ApiError::bad_request(format!("{} must be {}", capitalised(name), when::FORMS));
        when::parse(text, now).map(Some).ok_or_else(message)
    }

    /// The same, where a whole number has a unit of its own and is returned as it is, also out of range.
    pub(crate) fn number_or_moment(
        &self,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Result<i64, Timestamp>>, ApiError> {
        let Some(text) = self.first(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) => Ok(Some(Ok(number))),
            Err(_) => Ok(self.moment(name, now)?.map(Err)),
        }
    }

    /// The order that `orderAsc` asks for; newest first without it.
    pub(crate) fn order_asc(&self) -> Result<Order, ApiError> {
        self.flag("orderAsc").map(|ascending| if ascending { Order::Asc } else { Order::Desc })
    }
}

fn decode(text: &str) -> Result<String, ApiError> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced)
        .decode_utf8()
        .map(Into::into)
        .map_err(|_| ApiError::bad_request("the query string is not valid UTF-8"))
}

fn capitalised(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(text).unwrap()
    }

    #[test]
    fn lists_are_repeated_or_joined() {
        let query = query("types=a&types=b%2Cc&types=&state=running,paused");
        assert_eq!(query.list("types").collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(query.list("state").collect::<Vec<_>>(), ["running", "paused"]);
        assert_eq!(query.list("none").count(), 0);
        let bracketed = self::query("types[]=a&types%5B%5D=b&state[]=running");
        assert_eq!(bracketed.list("types").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(bracketed.first("state"), Some("running"));
    }

    #[test]
    fn bounds_are_kept() {
        assert_eq!(query("limit=100").limit(10).unwrap(), 100);
        assert_eq!(query("").limit(10).unwrap(), 10);
        for bad in [
            "limit=0",
            "limit=101",
            "limit=-1",
            "limit=x",
            "limit=",
            "limit=99999999999999999999",
            "limit=1.5",
        ] {
            assert!(query(bad).limit(10).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_taken_in_every_form() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for text in ["10m", "999400", "1970-01-12T13:36:40Z", "1970-01-12T14:36:40+01:00"] {
            let query = query(&format!("at={text}"));
            assert_eq!(query.moment("at", now).unwrap().map(Timestamp::as_second), Some(999_400), "{text}");
        }
        assert!(query("at=soon").moment("at", now).is_err());
        assert_eq!(query("at=-5").number_or_moment("at", now).unwrap(), Some(Ok(-5)));
        assert!(matches!(query("at=1m").number_or_moment("at", now), Ok(Some(Err(_)))));
    }

    #[test]
    fn text_that_is_not_utf8_is_refused() {
        assert!(Query::parse("a=%ff").is_err());
        assert_eq!(query("a%20b=c+d").first("a b"), Some("c d"));
    }
}
