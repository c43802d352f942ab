//! The query of `/files`.

use percent_encoding::percent_decode_str;

/// What the query says; each field as the client wrote it, decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileQuery {
    /// The file.
    pub path: Option<String>,
    /// As whom.
    pub username: Option<String>,
    /// A signature for just this file.
    pub signature: Option<String>,
    /// Until when the signature holds, in unix seconds.
    pub signature_expiration: Option<String>,
}

impl FileQuery {
    /// Of fields named twice the last one counts; others are ignored.
    pub fn parse(query: &str) -> Self {
        let mut parsed = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let field = match name {
                "path" => &mut parsed.path,
                "username" => &mut parsed.username,
                "signature" => &mut parsed.signature,
                "signature_expiration" => &mut parsed.signature_expiration,
                _ => continue,
            };
            let spaced = value.replace('+', " ");
            *field = Some(percent_decode_str(&spaced).decode_utf8_lossy().into_owned());
        }
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_as_clients_write_them() {
        let query =
            FileQuery::parse("path=%2Fhome%2Fuser%2Fa+b%2B.txt&username=root&signature=v1_%2F%2B&x=1");
        assert_eq!(query.path.as_deref(), Some("/home/user/a b+.txt"));
        assert_eq!(query.username.as_deref(), Some("root"));
        assert_eq!(query.signature.as_deref(), Some("v1_/+"));
        assert_eq!(query.signature_expiration, None);
        assert_eq!(FileQuery::parse(""), FileQuery::default());
    }
}
