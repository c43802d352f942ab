//! From a URL to a connection: a stranger's through the guard's rules, the operator's directly.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use url::{Host, Url};

use crate::guard::EgressGuard;
use crate::proxy::ProxyError;
use crate::rules::{EgressRules, GuardError};
use crate::web_url::UrlError;

/// Addresses of one answer that are tried.
const MAX_ADDRESSES: usize = 4;
/// How long one address may take while another is left to try.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The target is refused.
    #[error(transparent)]
    Refused(#[from] GuardError),
    /// The name did not resolve, or an address of it is not permitted. One answer for both: the owner of a URL must not
    /// learn which names there are on the inner network. The log says which it was.
    #[error("the host name does not resolve to addresses that are allowed")]
    Unresolved,
    /// No address of it took the connection.
    #[error("could not connect: {}", .0.kind())]
    Connect(#[source] io::Error),
    /// The proxy did not make the connection.
    #[error("the server's proxy could not connect")]
    Proxy(#[from] ProxyError),
}

/// What a connection was made under.
#[derive(Debug, Clone)]
pub struct Clearance {
    /// The address that was checked; behind a proxy not the one that was dialled.
    target: SocketAddr,
    rules: Arc<EgressRules>,
}

/// Dials for one owner of URLs (a webhook, say): names are resolved one after the other, so that a name server that
/// hangs costs others nothing.
#[derive(Debug, Clone)]
pub struct Dialer {
    guard: EgressGuard,
    lookups: Arc<Semaphore>,
}

impl EgressGuard {
    /// A dialler for one owner of URLs.
    pub fn dialer(&self) -> Dialer {
        Dialer { guard: self.clone(), lookups: Arc::new(Semaphore::new(1)) }
    }
}

impl Dialer {
    /// Connects to the host and port of `url`, if all its addresses are permitted. Takes as long as it takes: the
    /// caller holds the deadline.
    ///
    /// # Errors
    /// [`DialError`] if it is refused, or nobody is there.
    pub async fn dial(&self, url: &Url) -> Result<(TcpStream, Clearance), DialError> {
        let rules = self.guard.rules();
        // Checked again although it was when the URL was registered: the rules may have changed since.
        let url = rules.check_url(url.as_str())?;
        let port = url.port_or_known_default().ok_or(UrlError::Malformed).map_err(GuardError::from)?;
        let addresses = match url.host().ok_or(UrlError::Malformed).map_err(GuardError::from)? {
            Host::Ipv4(address) => vec![address.into()],
            Host::Ipv6(address) => vec![address.into()],
            Host::Domain(name) => self.resolve(name).await?,
        };
        for address in &addresses {
            match rules.check_address(*address, port) {
                Err(GuardError::Forbidden) if matches!(url.host(), Some(Host::Domain(_))) => {
                    tracing::info!(host = url.host_str(), %address, "a name leads to an address that is not allowed");
                    return Err(DialError::Unresolved);
                }
                judged => judged?,
            }
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
    pub fn confirms(&self, clearance: &Clearance) -> bool {
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

/// Connects to wherever `url` leads, without asking a guard: the operator or user who chose it may go there. Names
/// below `localhost` are this machine (RFC 6761), whatever its resolver knows of them.
pub(crate) async fn dial_anywhere(url: &Url) -> Result<TcpStream, DialError> {
    let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
        return Err(GuardError::Url(UrlError::Malformed).into());
    };
    let connected = match host {
        Host::Ipv4(address) => TcpStream::connect((address, port)).await,
        Host::Ipv6(address) => TcpStream::connect((address, port)).await,
        Host::Domain(name) if name.ends_with(".localhost") => {
            let loopback =
                [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), (Ipv6Addr::LOCALHOST, port).into()];
            TcpStream::connect(&loopback[..]).await
        }
        Host::Domain(name) => TcpStream::connect((name, port)).await,
    };
    let stream = connected.map_err(DialError::Connect)?;
    // Only latency is lost where this fails.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}
