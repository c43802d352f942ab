//! What the server prints once it is ready: lines a shell can evaluate, so that the official clients find it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sandscope_model::Secret;

/// The base URL a client on this machine uses for a server listening on `address`.
pub(crate) fn base_url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

/// The lines, in order; the key's only when it was just made, and last.
pub(crate) fn lines(address: SocketAddr, domain: &str, key: Option<&Secret>) -> String {
    let url = base_url(address);
    let mut lines =
        format!("export E2B_API_URL={url}\nexport E2B_SANDBOX_URL={url}\nexport E2B_DOMAIN={domain}");
    if let Some(key) = key {
        lines.push_str("\nexport E2B_API_KEY=");
        lines.push_str(key.expose());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_start_tells_the_key_last() {
        let key = Secret::new("e2b_0123456789abcdef0123456789abcdef01234567".to_owned());
        insta::assert_snapshot!(lines(([127, 0, 0, 1], 3000).into(), "localhost", Some(&key)), @r"
        export E2B_API_URL=http://127.0.0.1:3000
        export E2B_SANDBOX_URL=http://127.0.0.1:3000
        export E2B_DOMAIN=localhost
        export E2B_API_KEY=e2b_0123456789abcdef0123456789abcdef01234567
        ");
    }

    #[test]
    fn a_server_on_every_address_is_found_on_loopback() {
        assert_eq!(base_url(([0, 0, 0, 0], 80).into()), "http://127.0.0.1:80");
        assert_eq!(base_url("[::]:80".parse().unwrap()), "http://[::1]:80");
        assert_eq!(base_url(([10, 0, 0, 1], 80).into()), "http://10.0.0.1:80");
        assert_eq!(lines(([10, 0, 0, 1], 80).into(), "x", None).lines().count(), 3);
    }
}
