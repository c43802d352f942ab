use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Addresses that strangers' URLs may lead to although they are not on the public internet.
///
/// As text: `10.1.0.0/16`, or with a port or a range of ports, `10.1.0.0/16:8080`, `fd00::/8:8000-8999`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedTarget {
    /// The addresses.
    pub net: IpNet,
    /// The ports; `None` means all.
    pub ports: Option<RangeInclusive<u16>>,
}

impl AllowedTarget {
    /// The machine itself, on every port: for development.
    pub fn loopback() -> Vec<Self> {
        let nets = [
            IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
            IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
        ];
        nets.into_iter().map(|net| Self { net, ports: None }).collect()
    }

    pub(crate) fn permits(&self, address: IpAddr, port: u16) -> bool {
        self.net.contains(&address) && self.ports.as_ref().is_none_or(|ports| ports.contains(&port))
    }
}

/// The text is not an allowed target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected addresses as `10.1.0.0/16`, optionally with ports as in `10.1.0.0/16:8000-8999`")]
pub struct MalformedTarget;

impl FromStr for AllowedTarget {
    type Err = MalformedTarget;

    fn from_str(text: &str) -> Result<Self, MalformedTarget> {
        let (address, rest) = text.split_once('/').ok_or(MalformedTarget)?;
        let (prefix, ports) =
            rest.split_once(':').map_or((rest, None), |(prefix, ports)| (prefix, Some(ports)));
        let net = format!("{address}/{prefix}").parse().map_err(|_| MalformedTarget)?;
        let ports = ports.map(parse_ports).transpose()?;
        Ok(Self { net, ports })
    }
}

fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, MalformedTarget> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let parse = |port: &str| port.parse::<u16>().map_err(|_| MalformedTarget);
    let range = parse(first)?..=parse(last)?;
    if range.is_empty() { Err(MalformedTarget) } else { Ok(range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_targets_are_read_strictly() {
        let any: AllowedTarget = "10.0.0.0/8".parse().unwrap();
        assert_eq!(any.ports, None);
        let one: AllowedTarget = "10.0.0.0/8:80".parse().unwrap();
        assert_eq!(one.ports, Some(80..=80));
        for text in
            ["", "10.0.0.1", "10.0.0.0/33", "10.0.0.0/8:", "10.0.0.0/8:9-1", "10.0.0.0/8:x", "example.com/8"]
        {
            assert_eq!(text.parse::<AllowedTarget>(), Err(MalformedTarget), "{text}");
        }
    }
}
