//! What a reader of a file may ask for beyond all of it: a part, only if it changed, compressed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{
    ACCEPT_ENCODING, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    RANGE,
};

/// How contents travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// As they are.
    Identity,
    /// Compressed with gzip.
    Gzip,
}

/// What `Accept-Encoding` says about the two codings there are. Weights are in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    gzip: Option<u16>,
    identity: Option<u16>,
    others: Option<u16>,
}

impl Accepted {
    /// Entries that cannot be read are left out.
    pub fn parse(headers: &HeaderMap) -> Self {
        let mut accepted = Self { gzip: None, identity: None, others: None };
        let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        for entry in lists.flat_map(|list| list.split(',')) {
            let (coding, parameters) = entry.split_once(';').unwrap_or((entry, ""));
            let Some(weight) = weight(parameters) else { continue };
            match coding.trim().to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => accepted.gzip = Some(weight),
                "identity" => accepted.identity = Some(weight),
                "*" => accepted.others = Some(weight),
                _ => {}
            }
        }
        accepted
    }

    /// Whether contents may travel as they are.
    pub fn identity(self) -> bool {
        self.identity.or(self.others) != Some(0)
    }

    /// The coding to use; `None` if the reader accepts neither. Gzip where it is named and not liked less.
    pub fn choose(self) -> Option<Coding> {
        match self.gzip {
            Some(gzip) if gzip > 0 && gzip >= self.identity.unwrap_or(0) => Some(Coding::Gzip),
            _ if self.identity() => Some(Coding::Identity),
            _ if self.gzip.or(self.others).unwrap_or(0) > 0 => Some(Coding::Gzip),
            _ => None,
        }
    }
}

/// The weight among parameters like ` q=0.5`; 1 where there is none.
fn weight(parameters: &str) -> Option<u16> {
    let stated = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then_some(value.trim())
    });
    let Some(text) = stated else { return Some(1000) };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !matches!(whole, "0" | "1")
        || fraction.len() > 3
        || !fraction.bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let thousandths = format!("{fraction:0<3}").parse::<u16>().ok()?;
    Some(if whole == "1" { 1000 } else { thousandths })
}

/// What of the contents is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All; also where the header asks for something that is not offered, as the standard allows.
    Whole,
    /// From the first to the last byte named, inclusive.
    Part {
        /// First byte.
        first: u64,
        /// Last byte.
        last: u64,
    },
    /// Nothing that is there.
    Outside,
}

impl Extent {
    /// What `Range` asks for of contents of `size` bytes. One range is offered, not several.
    pub fn parse(headers: &HeaderMap, size: u64) -> Self {
        let spec = || headers.get(RANGE)?.to_str().ok()?.strip_prefix("bytes=")?.trim().split_once('-');
        let Some((first, last)) = spec() else {
            return Self::Whole;
        };
        let end = size.saturating_sub(1);
        let (first, last) = match (first.parse::<u64>(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) if first <= last => (first, last.min(end)),
            (Ok(first), Err(_)) if last.is_empty() => (first, end),
            (Err(_), Ok(count)) if first.is_empty() && count > 0 => (size.saturating_sub(count), end),
            _ => return Self::Whole,
        };
        if first >= size { Self::Outside } else { Self::Part { first, last } }
    }
}

/// Which contents a file has, as far as its inode shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// With its quotes.
    pub etag: String,
    modified: SystemTime,
}

/// Whether to answer with contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// Yes, with contents.
    Send,
    /// No: the reader has them already.
    NotModified,
    /// No: they are not what the reader expects.
    Failed,
}

impl Version {
    /// Of a file with this inode, size and time of its last change.
    pub fn new(inode: u64, size: u64, seconds: i64, nanoseconds: u32) -> Self {
        let etag = format!("\"{inode:x}-{size:x}-{seconds:x}.{nanoseconds:x}\"");
        // The form of the header knows neither fractions nor years beyond 9999.
        let seconds = u64::try_from(seconds).unwrap_or(0).min(253_402_300_799);
        Self { etag, modified: UNIX_EPOCH + Duration::from_secs(seconds) }
    }

    /// As `Last-Modified` writes it.
    pub fn last_modified(&self) -> String {
        httpdate::fmt_http_date(self.modified)
    }

    /// Whether the request carries any condition.
    pub fn is_conditional(headers: &HeaderMap) -> bool {
        [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE]
            .iter()
            .any(|name| headers.contains_key(name))
    }

    /// What the conditions of a request to read come to.
    pub fn judge(&self, headers: &HeaderMap) -> Precondition {
        let failed = match self.listed(headers, IF_MATCH, false) {
            Some(listed) => !listed,
            None => date(headers, IF_UNMODIFIED_SINCE).is_some_and(|date| self.modified > date),
        };
        if failed {
            return Precondition::Failed;
        }
        let known = match self.listed(headers, IF_NONE_MATCH, true) {
            Some(listed) => listed,
            None => date(headers, IF_MODIFIED_SINCE).is_some_and(|date| self.modified <= date),
        };
        if known { Precondition::NotModified } else { Precondition::Send }
    }

    /// Whether `If-Range`, where there is one, lets `Range` count.
    pub fn range_counts(&self, headers: &HeaderMap) -> bool {
        match headers.get(IF_RANGE).map(|value| value.to_str()) {
            None => true,
            Some(Ok(tag)) if tag.starts_with(['"', 'W']) => tag == self.etag,
            Some(Ok(date)) => httpdate::parse_http_date(date).is_ok_and(|date| date == self.modified),
            Some(Err(_)) => false,
        }
    }

    /// Whether the list in `header` has this version; `None` where there is no such header.
    fn listed(&self, headers: &HeaderMap, header: HeaderName, weakly: bool) -> Option<bool> {
        let mut lists = headers.get_all(header).iter().peekable();
        lists.peek()?;
        let mut tags = lists.filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(','));
        Some(tags.any(|tag| {
            let tag = tag.trim();
            let tag = if weakly { tag.strip_prefix("W/").unwrap_or(tag) } else { tag };
            tag == "*" || tag == self.etag
        }))
    }
}

fn date(headers: &HeaderMap, header: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(header)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn codings() {
        let of = |value: &str| Accepted::parse(&headers(&[(ACCEPT_ENCODING, value)])).choose();
        let (gzip, identity) = (Some(Coding::Gzip), Some(Coding::Identity));
        for (value, chosen) in [
            ("gzip", gzip),
            ("gzip, deflate", gzip),
            ("deflate , X-GZIP;q=0.001", gzip),
            ("zstd,gzip,br", gzip),
            ("gzip;q=0", identity),
            ("gzip;q=0.5, identity", identity),
            ("gzip;q=1.0, identity;q=0.5", gzip),
            ("gzip;q=2", identity),
            ("gzip;q=x", identity),
            ("identity", identity),
            ("*", identity),
            ("", identity),
            ("br", identity),
            ("identity;q=0", None),
            ("*;q=0", None),
            ("*;q=0, gzip", gzip),
            ("identity;q=0, *", gzip),
            ("identity;q=0, gzip;q=0, *", None),
        ] {
            assert_eq!(of(value), chosen, "{value:?}");
        }
        assert_eq!(Accepted::parse(&HeaderMap::new()).choose(), identity);
        assert!(!Accepted::parse(&headers(&[(ACCEPT_ENCODING, "gzip, *;q=0")])).identity());
    }

    #[test]
    fn extents() {
        let of = |value: &str, size| Extent::parse(&headers(&[(RANGE, value)]), size);
        assert_eq!(of("bytes=0-3", 10), Extent::Part { first: 0, last: 3 });
        assert_eq!(of("bytes=4-", 10), Extent::Part { first: 4, last: 9 });
        assert_eq!(of("bytes=4-99", 10), Extent::Part { first: 4, last: 9 });
        assert_eq!(of("bytes=-3", 10), Extent::Part { first: 7, last: 9 });
        assert_eq!(of("bytes=-30", 10), Extent::Part { first: 0, last: 9 });
        assert_eq!(of("bytes=10-", 10), Extent::Outside);
        assert_eq!(of("bytes=0-", 0), Extent::Outside);
        for all in ["bytes=3-1", "bytes=0-1,4-5", "lines=1-2", "bytes=-", "bytes=-0", "x"] {
            assert_eq!(of(all, 10), Extent::Whole, "{all}");
        }
        assert_eq!(Extent::parse(&HeaderMap::new(), 10), Extent::Whole);
    }

    #[test]
    fn conditions() {
        let version = Version::new(7, 5, 1_753_689_845, 9);
        let (tag, same) = (version.etag.clone(), version.last_modified());
        assert_eq!(same, "Mon, 28 Jul 2025 08:04:05 GMT");
        let (before, after) = ("Mon, 28 Jul 2025 08:04:04 GMT", "Mon, 28 Jul 2025 08:04:06 GMT");
        let weak = format!("\"x\", W/{tag}");
        for (lines, expected) in [
            (vec![], Precondition::Send),
            (vec![(IF_NONE_MATCH, tag.as_str())], Precondition::NotModified),
            (vec![(IF_NONE_MATCH, weak.as_str())], Precondition::NotModified),
            (vec![(IF_NONE_MATCH, "*")], Precondition::NotModified),
            (vec![(IF_NONE_MATCH, "\"x\"")], Precondition::Send),
            (vec![(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, after)], Precondition::Send),
            (vec![(IF_MODIFIED_SINCE, same.as_str())], Precondition::NotModified),
            (vec![(IF_MODIFIED_SINCE, before)], Precondition::Send),
            (vec![(IF_MODIFIED_SINCE, "yesterday")], Precondition::Send),
            (vec![(IF_MATCH, tag.as_str())], Precondition::Send),
            (vec![(IF_MATCH, weak.as_str())], Precondition::Failed),
            (vec![(IF_MATCH, "*")], Precondition::Send),
            (vec![(IF_UNMODIFIED_SINCE, before)], Precondition::Failed),
            (vec![(IF_UNMODIFIED_SINCE, same.as_str())], Precondition::Send),
        ] {
            assert_eq!(version.judge(&headers(&lines)), expected, "{lines:?}");
            assert_eq!(Version::is_conditional(&headers(&lines)), !lines.is_empty());
        }
        for (value, counts) in [
            (tag.as_str(), true),
            (weak.as_str(), false),
            (same.as_str(), true),
            (after, false),
            ("W/x", false),
        ] {
            assert_eq!(version.range_counts(&headers(&[(IF_RANGE, value)])), counts, "{value}");
        }
        assert!(version.range_counts(&HeaderMap::new()));
        // Times no header can say still make a version.
        assert!(Version::new(1, 1, i64::MAX, 0).last_modified().contains("9999"));
        assert!(Version::new(1, 1, i64::MIN, 0).last_modified().contains("1970"));
    }
}
