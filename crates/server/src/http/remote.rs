//! Whom a request comes from. `X-Forwarded-For` counts only as far as the operator trusts its writer: from the
//! connection's peer back to the first address that is no trusted proxy.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

/// The peer, or, as far as every proxy on the way is trusted, whom they say.
pub(super) fn address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    let mut client = peer.to_canonical();
    let said = headers.get_all("x-forwarded-for").into_iter().rev();
    let said = said.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
    for text in said {
        if !is_trusted(client) {
            break;
        }
        // What cannot be read says nothing, and nothing before it either.
        let Ok(address) = text.trim().parse::<IpAddr>() else { break };
        client = address.to_canonical();
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_addresses_count_as_far_as_proxies_are_trusted() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let address = |peer: &str, said: &[&str]| {
            let name = http::HeaderName::from_static("x-forwarded-for");
            let lines = said.iter().map(|line| (name.clone(), line.parse().unwrap()));
            super::address(peer.parse().unwrap(), &lines.collect(), &trusted).to_string()
        };
        assert_eq!(address("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(address("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(address("10.0.0.1", &["203.0.113.9, 198.51.100.7, 10.9.9.9"]), "198.51.100.7");
        assert_eq!(address("10.0.0.1", &["203.0.113.9", "198.51.100.7"]), "198.51.100.7");
        assert_eq!(address("10.0.0.1", &["203.0.113.9, nonsense"]), "10.0.0.1");
        assert_eq!(address("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(address("::ffff:10.0.0.1", &["::1, 2001:db8::1"]), "2001:db8::1");
    }
}
