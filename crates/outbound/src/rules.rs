//! What a guard permits: the public internet but for some ports, and what the operator allows besides.

use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};

use url::{Host, Url};

use crate::address::is_public;
use crate::allowed::AllowedTarget;
use crate::proxy::ProxyAddress;
use crate::web_url::{UrlError, web_url};

/// Why a URL is refused. The text is for the URL's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// It is no URL of the web.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// Its port belongs to something that is no web server, and is not on the allow-list.
    #[error("the target port is not allowed")]
    Port,
    /// Its host is not on the public internet, and not on the allow-list.
    #[error("the target address is not allowed")]
    Forbidden,
}

/// What a guard permits, beside the public internet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressRules {
    /// Targets that are permitted although they are not public, or although their port is denied (where an entry names
    /// ports).
    pub allow: Vec<AllowedTarget>,
    /// Ports that are not dialled.
    pub deny_ports: BTreeSet<u16>,
    /// The ports this server listens on, the operator's too: never dialled at an address of this machine, whatever is
    /// allowed.
    pub own_ports: BTreeSet<u16>,
    /// Through which HTTP proxy connections are made. The proxy gets checked addresses and no names.
    pub proxy: Option<ProxyAddress>,
}

impl Default for EgressRules {
    fn default() -> Self {
        Self { allow: Vec::new(), deny_ports: DENIED_PORTS.into(), own_ports: BTreeSet::new(), proxy: None }
    }
}

/// Ports of services that a request might do harm to although they speak no HTTP: mail, shells, files, names, chat.
const DENIED_PORTS: [u16; 83] = [
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104,
    109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515,
    526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049,
    3306, 3659, 4045, 4190, 5060, 5061, 5432, 6000, 6379, 6566, 6665, 6666, 6667, 6697, 10080, 11211,
];

impl EgressRules {
    /// Parses `text` and refuses what can be refused by looking at it.
    pub(crate) fn check_url(&self, text: &str) -> Result<Url, GuardError> {
        let url = web_url(text)?;
        let port = url.port_or_known_default().ok_or(UrlError::Malformed)?;
        match url.host().ok_or(UrlError::Malformed)? {
            Host::Ipv4(address) => self.check_address(address.into(), port)?,
            Host::Ipv6(address) => self.check_address(address.into(), port)?,
            Host::Domain(name) if is_localhost(name) => self.check_address([127, 0, 0, 1].into(), port)?,
            // Where it leads is seen when it is dialled; an allow-list entry may name the port.
            Host::Domain(_) => {
                let by_port =
                    |target: &AllowedTarget| target.ports.as_ref().is_some_and(|ports| ports.contains(&port));
                if !self.allow.iter().any(by_port) {
                    self.check_port(port)?;
                }
            }
        }
        Ok(url)
    }

    /// Whether `address` may be dialled on `port`.
    pub(crate) fn check_address(&self, address: IpAddr, port: u16) -> Result<(), GuardError> {
        // An IPv4-mapped address reaches the IPv4 address, so that is what the allow-list is asked about.
        let reached = address.to_canonical();
        let by_name = self.allow.iter().filter(|target| target.permits(reached, port));
        let by_port = by_name.clone().any(|target| target.ports.is_some());
        if port == 0 || (!is_public(address) && by_name.count() == 0) || self.is_own(reached, port) {
            return Err(GuardError::Forbidden);
        }
        self.check_port(port).or(if by_port { Ok(()) } else { Err(GuardError::Port) })
    }

    fn check_port(&self, port: u16) -> Result<(), GuardError> {
        if self.deny_ports.contains(&port) { Err(GuardError::Port) } else { Ok(()) }
    }

    /// Whether it is this server itself: only an address of this machine can be bound to.
    fn is_own(&self, address: IpAddr, port: u16) -> bool {
        self.own_ports.contains(&port)
            && (address.is_loopback() || address.is_unspecified() || UdpSocket::bind((address, 0)).is_ok())
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}
