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
    ///
    /// # Errors
    /// If what is before the colon is nearly an id: a file of that name here is hardly meant.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        if text == "-" {
            return Ok(Self::Stream);
        }
        match text.split_once(':') {
            Some((id, path)) if is_sandbox_id(id) => {
                let path = if path.is_empty() { "~" } else { path };
                Ok(Self::Inside { id: id.to_owned(), path: path.to_owned() })
            }
            Some((id, _)) if is_nearly_an_id(id) => anyhow::bail!(
                "{text}: {id} is no sandbox id: ids have {N_ID_CHARS} characters, this has {}; for a file here write \
                 ./{text}",
                id.len()
            ),
            _ => Ok(Self::Here(PathBuf::from(text))),
        }
    }
}

/// How long a sandbox's id is.
const N_ID_CHARS: usize = 21;

/// An id that was cut, or copied with a character too many.
fn is_nearly_an_id(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (12..=30).contains(&text.len()) && text.starts_with('i') && text.bytes().all(is_part)
}

fn is_sandbox_id(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() == N_ID_CHARS && text.starts_with('i') && text.bytes().all(is_part)
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
        let parse = |text: &str| CopyEnd::parse(text).unwrap();
        assert_eq!(parse(&format!("{id}:/etc/a:b")), inside("/etc/a:b"));
        assert_eq!(parse(&format!("{id}:")), inside("~"));
        assert_eq!(parse("-"), CopyEnd::Stream);
        let cut = CopyEnd::parse("i0123456789abcdefgh:/a").unwrap_err().to_string();
        assert!(cut.contains("ids have 21 characters, this has 19"), "{cut}");
        for here in ["a:b", "./i0123456789abcdefghij:x", "I0123456789abcdefghij:x", id, "-x"] {
            assert_eq!(parse(here), CopyEnd::Here(here.into()), "{here}");
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
