use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

/// The domain clients know the server by, `name` or `name:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// The name alone.
    pub name: String,
    /// The port clients are to use, where it is not the one listened on: behind something that forwards it.
    pub port: Option<NonZeroU16>,
}

impl Domain {
    /// The placeholder for "this machine, nobody else".
    pub const LOCAL: &str = "localhost";

    /// Whether it is the placeholder.
    pub fn is_local(&self) -> bool {
        self.name == Self::LOCAL
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl FromStr for Domain {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(port.parse().map_err(|_| ())?)),
            None => (text, None),
        };
        if is_name(name) { Ok(Self { name: name.to_ascii_lowercase(), port }) } else { Err(()) }
    }
}

fn is_name(text: &str) -> bool {
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label_ok)
}
