//! What writers attach to files: headers `X-Metadata-<key>`, kept as extended attributes `user.e2b.<key>`.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use http::{HeaderMap, StatusCode};
use rustix::fs::XattrFlags;
use sandscope_agent_protocol::rest::METADATA_HEADER_PREFIX;

use crate::body::Refusal;

pub(crate) type Metadata = BTreeMap<String, String>;

const ATTRIBUTE_PREFIX: &str = "user.e2b.";

/// What the kernel takes for an attribute's name, without our prefix.
const MAX_KEY_BYTES: usize = 255 - ATTRIBUTE_PREFIX.len();

/// All keys, with the prefix, and values of one file.
const MAX_BYTES: usize = 4096;

/// Attributes of one file that are read; all of them together fit the kernel's limit for the list of names.
const MAX_NAMES_BYTES: usize = 64 * 1024;
const MAX_VALUE_BYTES: usize = 64 * 1024;

/// Of a key that comes twice the first one counts.
pub(crate) fn of_headers(headers: &HeaderMap) -> Result<Metadata, Refusal> {
    let bad = |message: String| Refusal::new(StatusCode::BAD_REQUEST, message);
    let mut metadata = Metadata::new();
    for name in headers.keys() {
        let Some(key) = name.as_str().strip_prefix(METADATA_HEADER_PREFIX) else { continue };
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(bad(format!("a metadata key must have 1 to {MAX_KEY_BYTES} characters")));
        }
        let value = headers.get(name).map(http::HeaderValue::as_bytes).unwrap_or_default();
        match std::str::from_utf8(value) {
            Ok(text) if text.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) => {
                metadata.insert(key.to_owned(), text.to_owned());
            }
            _ => return Err(bad(format!("the metadata value of '{key}' must be printable ASCII"))),
        }
    }
    let bytes = metadata.iter().map(|(key, value)| ATTRIBUTE_PREFIX.len() + key.len() + value.len());
    if bytes.sum::<usize>() > MAX_BYTES {
        return Err(bad(format!("metadata is limited to {MAX_BYTES} bytes for each file")));
    }
    Ok(metadata)
}

/// Makes `metadata` all that is attached to the file.
pub(crate) fn replace(file: impl AsFd, metadata: &Metadata) -> io::Result<()> {
    let file = file.as_fd();
    for name in own_names(rustix::fs::flistxattr_query(file), |buffer| rustix::fs::flistxattr(file, buffer)) {
        if !name.strip_prefix(ATTRIBUTE_PREFIX).is_some_and(|key| metadata.contains_key(key)) {
            rustix::fs::fremovexattr(file, name)?;
        }
    }
    for (key, value) in metadata {
        let name = format!("{ATTRIBUTE_PREFIX}{key}");
        rustix::fs::fsetxattr(file, name, value.as_bytes(), XattrFlags::empty())?;
    }
    Ok(())
}

/// Empty where the file has none, or its file system cannot keep any.
pub(crate) fn read(path: &Path) -> Metadata {
    let mut found = Metadata::new();
    for name in own_names(rustix::fs::llistxattr_query(path), |buffer| rustix::fs::llistxattr(path, buffer)) {
        let mut value = vec![0; MAX_VALUE_BYTES];
        if let Ok(size) = rustix::fs::lgetxattr(path, name.as_str(), &mut value) {
            value.truncate(size);
            let key = name.trim_start_matches(ATTRIBUTE_PREFIX).to_owned();
            found.insert(key, String::from_utf8_lossy(&value).into_owned());
        }
    }
    found
}

/// The names of attributes that are ours. Most files have none: their `size` is asked for before making room.
fn own_names(
    size: rustix::io::Result<usize>,
    list: impl FnOnce(&mut [u8]) -> rustix::io::Result<usize>,
) -> Vec<String> {
    let size = size.unwrap_or(0);
    if size == 0 || size > MAX_NAMES_BYTES {
        return Vec::new();
    }
    let mut names = vec![0; size];
    let size = list(&mut names).unwrap_or(0);
    let names = names[..size.min(names.len())].split(|byte| *byte == 0);
    let ours = names.filter_map(|name| std::str::from_utf8(name).ok());
    ours.filter(|name| name.starts_with(ATTRIBUTE_PREFIX)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn of(lines: &[(&str, &[u8])]) -> Result<Metadata, u16> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        of_headers(&headers).map_err(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn headers_with_bounds() {
        let lines: [(&str, &[u8]); 4] = [
            ("X-Metadata-Owner", b"me"),
            ("x-metadata-owner", b"you"),
            ("x-metadata-e", b""),
            ("other", b"x"),
        ];
        let metadata = of(&lines).unwrap();
        assert_eq!(
            metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(),
            [("e", ""), ("owner", "me")]
        );
        assert_eq!(of(&[("x-metadata-", b"x")]), Err(400));
        assert_eq!(of(&[("x-metadata-a", "\u{e9}".as_bytes())]), Err(400));
        assert_eq!(of(&[("x-metadata-a", b"a\tb")]), Err(400));
        let key = format!("x-metadata-{}", "k".repeat(MAX_KEY_BYTES));
        assert!(of(&[(key.as_str(), b"v")]).is_ok());
        assert_eq!(of(&[(format!("{key}k").as_str(), b"v")]), Err(400));
        let most = vec![b'v'; MAX_BYTES - ATTRIBUTE_PREFIX.len() - 1];
        assert!(of(&[("x-metadata-a", &most)]).is_ok());
        assert_eq!(of(&[("x-metadata-ab", &most)]), Err(400));
    }
}
