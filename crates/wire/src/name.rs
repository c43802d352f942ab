//! Names of templates and snapshots: `[namespace/]name[:tag]`.

/// The tag that is meant when none is given.
pub const DEFAULT_TAG: &str = "default";

/// Longest part of a name.
const MAX_PART: usize = 128;

/// A name taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QualifiedName {
    /// The team's slug, if given.
    pub namespace: Option<String>,
    /// The name itself.
    pub name: String,
    /// The tag, [`DEFAULT_TAG`] if not given.
    pub tag: String,
}

/// The text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid name: expected [namespace/]name[:tag], where namespace and name are made of a-z, 0-9, - and _, \
     the tag may also have dots, and none is longer than 128 characters"
)]
pub struct MalformedName;

impl QualifiedName {
    /// Reads a name; capital letters become small ones.
    ///
    /// # Errors
    /// [`MalformedName`] if a part is empty, too long or has a character that is not allowed.
    pub fn parse(text: &str) -> Result<Self, MalformedName> {
        let text = text.trim().to_ascii_lowercase();
        let (path, tag) = text.split_once(':').unwrap_or((&text, DEFAULT_TAG));
        let (namespace, name) = path.split_once('/').map_or((None, path), |(ns, name)| (Some(ns), name));
        let is_part =
            |part: &str| !part.is_empty() && part.len() <= MAX_PART && part.bytes().all(is_name_byte);
        let is_tag = !tag.is_empty()
            && tag.len() <= MAX_PART
            && tag.bytes().all(|byte| is_name_byte(byte) || byte == b'.');
        if is_part(name) && namespace.is_none_or(is_part) && is_tag {
            Ok(Self {
                namespace: namespace.map(ToOwned::to_owned),
                name: name.to_owned(),
                tag: tag.to_owned(),
            })
        } else {
            Err(MalformedName)
        }
    }
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let full = QualifiedName::parse("acme/My-Env:v1.2").unwrap();
        assert_eq!(full.namespace.as_deref(), Some("acme"));
        assert_eq!((full.name.as_str(), full.tag.as_str()), ("my-env", "v1.2"));
        assert_eq!(QualifiedName::parse("base").unwrap().tag, "default");
        for bad in ["", ":", "/", "a/b/c", "a:b:c", "a b", "a/", "/a", "a:", "ü"] {
            assert_eq!(QualifiedName::parse(bad), Err(MalformedName), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = QualifiedName::parse(&text);
        }
    }
}
