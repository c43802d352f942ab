//! The egress guard: strangers name the addresses deliveries go to, and this decides which of them may be dialled.
//!
//! ```text
//! URL ──check_url──▶ scheme, no userinfo, host ──▶ literal address ──▶ permitted? ──┐
//!                                              └─▶ name ─▶ resolve ─▶ ALL permitted? ├─▶ dial exactly a checked
//!                                                                                    │   address
//!                                                                    refused ◀──────┘
//! ```
//!
//! A name is resolved once per connection and only an address of that very answer is dialled, so a name that
//! answers differently a moment later (rebinding) gains nothing; an answer with a single forbidden address is
//! refused whole. The errors say that a target is not allowed and never what it resolved to.
//!
//! The rules can be replaced at any time. What is dialled from then on goes by the new ones, and so does what is kept
//! open: a connection carries its [`Clearance`], which is looked at again before it is used.
//!
//! Resolving blocks a thread, which the deadline of an attempt cannot end: every [`Dialer`] therefore resolves one
//! name at a time, and all of them together a bounded number, counted until the thread is really free again.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use url::{Host, Url};

use crate::address::is_public;
use crate::proxy::ProxyAddress;

/// Longest URL accepted, in bytes.
const MAX_URL_BYTES: usize = 2_048;
/// Names resolved at once, over all webhooks.
const MAX_LOOKUPS: usize = 64;
/// Addresses of one answer that are tried.
const MAX_ADDRESSES: usize = 4;
/// How long one address may take while another is left to try.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);

/// Addresses deliveries may go to although they are not on the public internet.
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
            IpNet::V4(ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(127, 0, 0, 0), 8)),
            IpNet::V6(ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::LOCALHOST, 128)),
        ];
        nets.into_iter().map(|net| Self { net, ports: None }).collect()
    }

    fn permits(&self, address: IpAddr, port: u16) -> bool {
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

/// Why a URL is refused. The text is for the webhook's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// Not an absolute http or https URL, or with characters that URLs do not have.
    #[error("must be a valid http or https URL")]
    Malformed,
    /// Longer than 2,048 bytes.
    #[error("must be at most 2048 bytes long")]
    TooLong,
    /// A user name or password in it.
    #[error("must not contain a user name or password")]
    Credentials,
    /// Its port belongs to something that is no web server, and is not on the allow-list.
    #[error("the target port is not allowed")]
    Port,
    /// Its host is not on the public internet, and not on the allow-list.
    #[error("the target address is not allowed")]
    Forbidden,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The target is refused.
    #[error(transparent)]
    Refused(#[from] GuardError),
    /// The name did not resolve.
    #[error("the host name did not resolve")]
    Unresolved,
    /// No address of it took the connection.
    #[error("could not connect: {}", .0.kind())]
    Connect(io::Error),
    /// The proxy did not make the connection.
    #[error("the server's proxy could not connect")]
    Proxy,
}

/// How names become addresses. The system's way, except in tests.
pub(crate) trait Resolve: Send + Sync + 'static {
    /// All addresses of `host`. May block.
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
    }
}

/// What a guard permits, beside the public internet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressRules {
    /// Targets that are permitted although they are not public, or although their port is denied (where an entry names
    /// ports).
    pub allow: Vec<AllowedTarget>,
    /// Ports that are not dialled.
    pub deny_ports: BTreeSet<u16>,
    /// The port this server listens on: never dialled at an address of this machine, whatever is allowed.
    pub own_port: Option<u16>,
    /// Through which HTTP proxy connections are made. It is told checked addresses and no names.
    pub proxy: Option<ProxyAddress>,
}

impl Default for EgressRules {
    fn default() -> Self {
        Self { allow: Vec::new(), deny_ports: DENIED_PORTS.into(), own_port: None, proxy: None }
    }
}

/// Ports of services that a request might do harm to although they speak no HTTP: mail, shells, files, names, chat.
const DENIED_PORTS: [u16; 83] = [
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104,
    109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515,
    526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049,
    3306, 3659, 4045, 4190, 5060, 5061, 5432, 6000, 6379, 6566, 6665, 6666, 6667, 6697, 10080, 11211,
];

/// Decides which targets may be dialled, and dials them. Clones share the same rules and limits.
#[derive(Clone)]
pub struct EgressGuard {
    rules: Arc<RwLock<Arc<EgressRules>>>,
    resolver: Arc<dyn Resolve>,
    lookups: Arc<Semaphore>,
}

impl std::fmt::Debug for EgressGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EgressGuard").field("rules", &self.rules()).finish_non_exhaustive()
    }
}

impl EgressGuard {
    /// A guard that permits the public internet but for the usual denied ports, and `allow`.
    pub fn new(allow: Vec<AllowedTarget>) -> Self {
        Self::with_rules(EgressRules { allow, ..EgressRules::default() })
    }

    /// A guard that permits the public internet as far as `rules` say.
    pub fn with_rules(rules: EgressRules) -> Self {
        Self::with_resolver(rules, SystemResolver)
    }

    pub(crate) fn with_resolver(rules: EgressRules, resolver: impl Resolve) -> Self {
        let lookups = Arc::new(Semaphore::new(MAX_LOOKUPS));
        let rules = Arc::new(RwLock::new(Arc::new(rules)));
        Self { rules, resolver: Arc::new(resolver), lookups }
    }

    /// Goes by `rules` from now on, for this guard and its clones.
    pub fn replace_rules(&self, rules: EgressRules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// The rules in force.
    fn rules(&self) -> Arc<EgressRules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Parses `text` and refuses what can be refused by looking at it: use it when a webhook is registered. Names
    /// are not resolved here; that is done at every connection.
    pub fn check_url(&self, text: &str) -> Result<Url, GuardError> {
        self.rules().check_url(text)
    }

    /// A dialler for one webhook.
    pub fn dialer(&self) -> Dialer {
        Dialer { guard: self.clone(), lookups: Arc::new(Semaphore::new(1)) }
    }
}

impl EgressRules {
    fn check_url(&self, text: &str) -> Result<Url, GuardError> {
        if text.len() > MAX_URL_BYTES {
            return Err(GuardError::TooLong);
        }
        // The parser drops or mends these without a word; whoever sends them has something in mind.
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err(GuardError::Malformed);
        }
        let url = Url::parse(text).map_err(|_| GuardError::Malformed)?;
        let spelled_out = text.split_once("://").is_some_and(|(_, rest)| !rest.starts_with(['/', '?', '#']));
        if !matches!(url.scheme(), "http" | "https") || !spelled_out {
            return Err(GuardError::Malformed);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(GuardError::Credentials);
        }
        let port = url.port_or_known_default().ok_or(GuardError::Malformed)?;
        match url.host().ok_or(GuardError::Malformed)? {
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
    fn check_address(&self, address: IpAddr, port: u16) -> Result<(), GuardError> {
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
        self.own_port == Some(port)
            && (address.is_loopback() || address.is_unspecified() || UdpSocket::bind((address, 0)).is_ok())
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

/// What a connection was made under.
#[derive(Debug, Clone)]
pub struct Clearance {
    /// The address that was checked; behind a proxy not the one that was dialled.
    target: SocketAddr,
    rules: Arc<EgressRules>,
}

/// Dials for one webhook: names are resolved one after the other, so that a name server that hangs costs others
/// nothing.
#[derive(Debug, Clone)]
pub struct Dialer {
    guard: EgressGuard,
    lookups: Arc<Semaphore>,
}

impl Dialer {
    /// Connects to the host and port of `url`, if all its addresses are permitted. Takes as long as it takes: the
    /// caller holds the deadline.
    pub async fn dial(&self, url: &Url) -> Result<(TcpStream, Clearance), DialError> {
        let rules = self.guard.rules();
        // Checked again although it was when the webhook was registered: the rules may have changed since.
        let url = rules.check_url(url.as_str())?;
        let port = url.port_or_known_default().ok_or(GuardError::Malformed)?;
        let addresses = match url.host().ok_or(GuardError::Malformed)? {
            Host::Ipv4(address) => vec![address.into()],
            Host::Ipv6(address) => vec![address.into()],
            Host::Domain(name) => self.resolve(name).await?,
        };
        for address in &addresses {
            rules.check_address(*address, port)?;
        }
        let (stream, target) = match &rules.proxy {
            Some(proxy) => {
                let target = SocketAddr::new(*addresses.first().ok_or(DialError::Unresolved)?, port);
                (proxy.connect(target).await?, target)
            }
            None => connect(&addresses, port).await?,
        };
        Ok((stream, Clearance { target, rules }))
    }

    /// Whether a connection that was made under `clearance` could be made now.
    pub(crate) fn confirms(&self, clearance: &Clearance) -> bool {
        let rules = self.guard.rules();
        let Clearance { target, rules: earlier } = clearance;
        Arc::ptr_eq(&rules, earlier)
            || (rules.proxy == earlier.proxy && rules.check_address(target.ip(), target.port()).is_ok())
    }

    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, DialError> {
        let closed = |_| DialError::Unresolved;
        let own = Arc::clone(&self.lookups).acquire_owned().await.map_err(closed)?;
        let shared = Arc::clone(&self.guard.lookups).acquire_owned().await.map_err(closed)?;
        let resolver = Arc::clone(&self.guard.resolver);
        let name = name.to_owned();
        let lookup = tokio::task::spawn_blocking(move || {
            let answer = resolver.resolve(&name);
            drop((own, shared));
            answer
        });
        let mut addresses =
            lookup.await.map_err(|_| DialError::Unresolved)?.map_err(|_| DialError::Unresolved)?;
        addresses.sort_unstable_by_key(IpAddr::is_ipv6);
        addresses.dedup();
        if addresses.is_empty() { Err(DialError::Unresolved) } else { Ok(addresses) }
    }
}

async fn connect(addresses: &[IpAddr], port: u16) -> Result<(TcpStream, SocketAddr), DialError> {
    let n = addresses.len().min(MAX_ADDRESSES);
    let mut last_error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for (tried, address) in addresses.iter().take(n).enumerate() {
        let target = SocketAddr::new(*address, port);
        let connecting = TcpStream::connect(target);
        let connected = if tried + 1 == n {
            connecting.await
        } else {
            let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut));
            tokio::time::timeout(CONNECT_PATIENCE, connecting).await.unwrap_or_else(late)
        };
        match connected {
            Ok(stream) => {
                // Only latency is lost where this fails.
                let _ = stream.set_nodelay(true);
                return Ok((stream, target));
            }
            Err(error) => last_error = error,
        }
    }
    Err(DialError::Connect(last_error))
}

#[cfg(test)]
#[path = "guard_packet_tests.rs"]
mod packet_tests;
#[cfg(test)]
#[path = "guard_tests.rs"]
pub(crate) mod tests;
