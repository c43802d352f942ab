use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};

/// How names become addresses. The system's way, except in tests.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of `host`. May block: it is called on a thread for that.
    ///
    /// # Errors
    /// Whatever the name service says; the text goes no further.
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

pub(crate) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
    }
}
