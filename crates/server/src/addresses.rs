//! What the server prints once it is ready: lines a shell can evaluate, so that the official clients find it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;

use sandscope_model::Secret;

use sandscope_config::Domain;

/// What needs no port in an https URL.
const HTTPS_PORT: u16 = 443;

/// Where clients find the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The control plane.
    pub api_url: String,
    /// The data plane, for clients that send everything to one address.
    pub sandbox_url: String,
    /// What sandboxes' host names end with, port included where one is needed.
    pub domain: String,
}

impl Addresses {
    /// Those of a server that listens on `address`.
    ///
    /// A certificate is for names, not for whatever address is listened on: over TLS the names are the domain's.
    pub(crate) fn of(address: SocketAddr, domain: &Domain, is_tls: bool) -> Self {
        if !is_tls {
            let url = base_url(address);
            // The placeholder's names lead to this machine, so the port is ours. Any other name leads to whatever
            // speaks TLS in front of us, on the port that the operator says.
            let port = domain.port.or_else(|| NonZeroU16::new(address.port())).filter(|_| domain.is_local());
            let domain = Domain { port: port.or(domain.port), ..domain.clone() }.to_string();
            return Self { api_url: url.clone(), sandbox_url: url, domain };
        }
        let port = domain.port.map_or(address.port(), NonZeroU16::get);
        let port = if port == HTTPS_PORT { String::new() } else { format!(":{port}") };
        let name = &domain.name;
        let url = |prefix: &str| format!("https://{prefix}{name}{port}");
        let (api_url, sandbox_url) =
            if domain.is_local() { (url(""), url("")) } else { (url("api."), url("sandbox.")) };
        Self { api_url, sandbox_url, domain: format!("{name}{port}") }
    }

    /// The domain reported to clients for their sandboxes, in place of their own setting. None for the placeholder.
    pub(crate) fn told_domain(&self, domain: &Domain) -> Option<String> {
        (!domain.is_local()).then(|| self.domain.clone())
    }

    /// The lines, in order; the key's only when it was just made, and last.
    pub(crate) fn lines(&self, key: Option<&Secret>) -> String {
        let Self { api_url, sandbox_url, domain } = self;
        let mut lines = format!(
            "export E2B_API_URL={api_url}\nexport E2B_SANDBOX_URL={sandbox_url}\nexport E2B_DOMAIN={domain}"
        );
        if let Some(key) = key {
            lines.push_str("\nexport E2B_API_KEY=");
            lines.push_str(key.expose());
        }
        lines
    }
}

/// The base URL a client on this machine uses for a server that speaks plain HTTP on `address`.
fn base_url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(domain: &str, is_tls: bool) -> Addresses {
        Addresses::of(([127, 0, 0, 1], 3443).into(), &domain.parse().unwrap(), is_tls)
    }

    #[test]
    fn a_first_start_tells_the_key_last() {
        let key = Secret::new("e2b_0123456789abcdef0123456789abcdef01234567".to_owned());
        insta::assert_snapshot!(addresses("localhost", false).lines(Some(&key)), @r"
        export E2B_API_URL=http://127.0.0.1:3443
        export E2B_SANDBOX_URL=http://127.0.0.1:3443
        export E2B_DOMAIN=localhost:3443
        export E2B_API_KEY=e2b_0123456789abcdef0123456789abcdef01234567
        ");
        assert_eq!(addresses("localhost", false).told_domain(&"localhost".parse().unwrap()), None);
    }

    #[test]
    fn without_tls_only_the_placeholders_names_get_our_port() {
        assert_eq!(addresses("localhost", false).domain, "localhost:3443");
        assert_eq!(addresses("localhost:8080", false).domain, "localhost:8080");
        assert_eq!(addresses("sandboxes.example", false).domain, "sandboxes.example");
        assert_eq!(addresses("sandboxes.example:8443", false).domain, "sandboxes.example:8443");
    }

    #[test]
    fn over_tls_the_names_are_those_of_the_certificate() {
        insta::assert_snapshot!(addresses("e2b.localhost", true).lines(None), @r"
        export E2B_API_URL=https://api.e2b.localhost:3443
        export E2B_SANDBOX_URL=https://sandbox.e2b.localhost:3443
        export E2B_DOMAIN=e2b.localhost:3443
        ");
        insta::assert_snapshot!(addresses("localhost", true).lines(None), @r"
        export E2B_API_URL=https://localhost:3443
        export E2B_SANDBOX_URL=https://localhost:3443
        export E2B_DOMAIN=localhost:3443
        ");
        let forwarded = addresses("sandboxes.example:443", true);
        assert_eq!(forwarded.api_url, "https://api.sandboxes.example");
        assert_eq!(forwarded.told_domain(&"x".parse().unwrap()).as_deref(), Some("sandboxes.example"));
    }

    #[test]
    fn a_server_on_every_address_is_found_on_loopback() {
        assert_eq!(base_url(([0, 0, 0, 0], 80).into()), "http://127.0.0.1:80");
        assert_eq!(base_url("[::]:80".parse().unwrap()), "http://[::1]:80");
        assert_eq!(base_url(([10, 0, 0, 1], 80).into()), "http://10.0.0.1:80");
        assert_eq!(addresses("x", false).lines(None).lines().count(), 3);
    }
}
