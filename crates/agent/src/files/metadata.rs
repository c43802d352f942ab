//! What writers attach to files: headers `X-Metadata-<key>`, kept as extended attributes `user.e2b.<key>`.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use http::HeaderMap;
use rustix::fs::XattrFlags;

const HEADER_PREFIX: &str = "x-metadata-";
const ATTRIBUTE_PREFIX: &str = "user.e2b.";

/// Attributes of one file that are read; all of them together fit the kernel's limit for the list of names.
const MAX_NAMES_BYTES: usize = 64 * 1024;
const MAX_VALUE_BYTES: usize = 64 * 1024;

pub(super) fn of_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let pairs = headers.iter().filter_map(|(name, value)| {
        let key = name.as_str().strip_prefix(HEADER_PREFIX).filter(|key| !key.is_empty())?;
        Some((key.to_owned(), value.to_str().ok()?.to_owned()))
    });
    pairs.collect()
}

pub(super) fn write(file: impl AsFd, metadata: &BTreeMap<String, String>) -> std::io::Result<()> {
    for (key, value) in metadata {
        let name = format!("{ATTRIBUTE_PREFIX}{key}");
        rustix::fs::fsetxattr(file.as_fd(), name, value.as_bytes(), XattrFlags::empty())?;
    }
    Ok(())
}

/// Empty where the file has none, or its file system cannot keep any.
pub(crate) fn read(path: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    // Most files have none: ask for the size before making room.
    let size = rustix::fs::llistxattr(path, &mut [0_u8; 0]).unwrap_or(0);
    if size == 0 || size > MAX_NAMES_BYTES {
        return found;
    }
    let mut names = vec![0; size];
    let Ok(size) = rustix::fs::llistxattr(path, &mut names) else {
        return found;
    };
    for name in names[..size.min(names.len())].split(|byte| *byte == 0) {
        let Some(key) = std::str::from_utf8(name).ok().and_then(|name| name.strip_prefix(ATTRIBUTE_PREFIX))
        else {
            continue;
        };
        let mut value = vec![0; MAX_VALUE_BYTES];
        if let Ok(size) = rustix::fs::lgetxattr(path, name, &mut value) {
            value.truncate(size);
            found.insert(key.to_owned(), String::from_utf8_lossy(&value).into_owned());
        }
    }
    found
}
