use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

/// Longest answer of a proxy that is read.
const MAX_ANSWER_BYTES: usize = 8 * 1024;

/// An HTTP proxy that makes connections on request (`CONNECT`). The operator names it, so no rule applies to it.
///
/// It gets the address that was checked and never the name: it must not look up for itself where that leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyAddress {
    /// Host and port.
    authority: String,
}

/// The text names no proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected the address of an HTTP proxy, as in http://proxy.internal:3128")]
pub struct MalformedProxy;

impl FromStr for ProxyAddress {
    type Err = MalformedProxy;

    fn from_str(text: &str) -> Result<Self, MalformedProxy> {
        let url = Url::parse(text).map_err(|_| MalformedProxy)?;
        let plain = url.scheme() == "http" && url.username().is_empty() && url.password().is_none();
        let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        match (url.host_str(), url.port_or_known_default()) {
            (Some(host), Some(port)) if plain && bare => Ok(Self { authority: format!("{host}:{port}") }),
            _ => Err(MalformedProxy),
        }
    }
}

impl fmt::Display for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

/// Why a proxy made no connection.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// It does not answer.
    #[error("the proxy does not answer")]
    Silent(#[from] io::Error),
    /// It answered with something other than a success.
    #[error("the proxy refused")]
    Refused,
    /// What it answered is longer than the head of an answer may be (8 KiB).
    #[error("the proxy's answer is too long")]
    TooLong,
}

impl ProxyAddress {
    /// A connection to `target` through the proxy.
    pub(crate) async fn connect(&self, target: SocketAddr) -> Result<TcpStream, ProxyError> {
        let mut stream = TcpStream::connect(&self.authority).await?;
        // Only latency is lost where this fails.
        let _ = stream.set_nodelay(true);
        let request = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        // Byte by byte: what follows the answer is no longer the proxy's.
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= MAX_ANSWER_BYTES {
                return Err(ProxyError::TooLong);
            }
            answer.push(stream.read_u8().await?);
        }
        let status = answer.split(|byte| *byte == b' ').nth(1);
        if answer.starts_with(b"HTTP/1.") && status.is_some_and(|status| status.starts_with(b"2")) {
            Ok(stream)
        } else {
            Err(ProxyError::Refused)
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::{AllowedTarget, DialError, EgressGuard, EgressRules};

    #[test]
    fn only_plain_addresses_are_proxies() {
        let proxy: ProxyAddress = "http://proxy.internal:3128".parse().unwrap();
        assert_eq!(proxy.to_string(), "http://proxy.internal:3128");
        for bad in
            ["", "proxy:3128", "https://proxy:1", "http://u:p@proxy:1", "http://proxy:1/path", "socks5://p:1"]
        {
            assert_eq!(bad.parse::<ProxyAddress>(), Err(MalformedProxy), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_proxy_is_told_checked_addresses_only() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let rules =
            EgressRules { proxy: Some(proxy), allow: AllowedTarget::loopback(), ..EgressRules::default() };
        let dialer = EgressGuard::with_rules(rules).dialer();
        let refused = dialer.dial(&Url::parse("http://10.0.0.1/").unwrap()).await.unwrap_err();
        assert!(matches!(refused, DialError::Refused(_)), "{refused:?}");
        for (answer, works) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 403 No\r\n\r\n", false),
            ("nonsense\r\n\r\n", false),
        ] {
            let url = Url::parse("http://localhost:8080/").unwrap();
            let (dialled, asked) = tokio::join!(dialer.dial(&url), async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    asked.push(stream.read_u8().await.unwrap());
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
                (String::from_utf8(asked).unwrap(), stream)
            });
            assert!(asked.0.starts_with("CONNECT 127.0.0.1:8080 HTTP/1.1\r\n"), "{}", asked.0);
            assert_eq!(dialled.is_ok(), works, "{answer:?}");
        }
    }
}
