use std::path::PathBuf;

/// One end of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CopyEnd {
    /// Standard input or output.
    Stream,
    /// A path on this machine.
    Here(PathBuf),
    /// In a sandbox.
    Inside {
        /// The sandbox's id.
        id: String,
        /// Absolute, or below the user's home.
        path: String,
    },
}

impl CopyEnd {
    /// What looks like `<sandbox id>:<path>` is meant so; `./` before it says otherwise.
    pub(super) fn parse(text: &str) -> Self {
        if text == "-" {
            return Self::Stream;
        }
        match text.split_once(':') {
            Some((id, path)) if is_sandbox_id(id) => {
                let path = if path.is_empty() { "~" } else { path };
                Self::Inside { id: id.to_owned(), path: path.to_owned() }
            }
            _ => Self::Here(PathBuf::from(text)),
        }
    }
}

fn is_sandbox_id(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() == 21 && text.starts_with('i') && text.bytes().all(is_part)
}

/// `name` below the directory `path`.
pub(super) fn join(path: &str, name: &str) -> String {
    format!("{}/{name}", path.trim_end_matches('/'))
}

/// Whether a sandbox's word for a name is one: nothing that leads elsewhere.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_s_id_and_a_colon_lead_inside() {
        let id = "i0123456789abcdefghij";
        let inside = |path: &str| CopyEnd::Inside { id: id.to_owned(), path: path.to_owned() };
        assert_eq!(CopyEnd::parse(&format!("{id}:/etc/a:b")), inside("/etc/a:b"));
        assert_eq!(CopyEnd::parse(&format!("{id}:")), inside("~"));
        assert_eq!(CopyEnd::parse("-"), CopyEnd::Stream);
        for here in ["a:b", "./i0123456789abcdefghij:x", "I0123456789abcdefghij:x", id, "-x"] {
            assert_eq!(CopyEnd::parse(here), CopyEnd::Here(here.into()), "{here}");
        }
    }

    #[test]
    fn names_lead_nowhere_else() {
        assert!(is_name("a b") && is_name("...") && is_name("-"));
        for bad in ["", ".", "..", "a/b", "/", "a\0"] {
            assert!(!is_name(bad), "{bad:?}");
        }
        assert_eq!(join("/", "a"), "/a");
        assert_eq!(join("/x/", "a"), "/x/a");
    }
}
