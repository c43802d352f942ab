//! Connections into a sandbox's network, of which the launcher makes the sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd as _;

use sandscope_agent_protocol::AGENT_PORT;
use sandscope_engine::DialFailure;
use tokio::net::{TcpSocket, TcpStream};

use super::client::LauncherClient;
use super::handles::Handles;
use super::protocol::{Failure, Loopback, Operation};

/// What a kernel without IPv6, or one that has it switched off, answers: nothing can listen there.
const NO_IPV6: [i32; 3] = [libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL, libc::ENETUNREACH];

/// Connects to a port inside: on IPv4, and where that refuses, which it does at once, on IPv6. The agent is on IPv4
/// alone: on IPv6 another program may have taken its port, which must not receive what is for the agent. A failure of
/// the second attempt is the answer: unlike the first one's refusal it leaves open whether something listens.
pub(super) async fn dial(
    launcher: &LauncherClient,
    live: &Handles,
    port: u16,
) -> Result<TcpStream, DialFailure> {
    match dial_one(launcher, live, Loopback::V4, port).await {
        Err(DialFailure::PortClosed) if port != AGENT_PORT => {
            dial_one(launcher, live, Loopback::V6, port).await
        }
        connected => connected,
    }
}

/// The same on one loopback address.
async fn dial_one(
    launcher: &LauncherClient,
    live: &Handles,
    loopback: Loopback,
    port: u16,
) -> Result<TcpStream, DialFailure> {
    let address: IpAddr = match loopback {
        Loopback::V4 => Ipv4Addr::LOCALHOST.into(),
        Loopback::V6 => Ipv6Addr::LOCALHOST.into(),
    };
    let socket = socket_inside(launcher, live, loopback).await?;
    socket.connect(SocketAddr::from((address, port))).await.map_err(|error| {
        let is_refused = error.kind() == io::ErrorKind::ConnectionRefused;
        if is_refused || is_absent(loopback, error.raw_os_error()) {
            DialFailure::PortClosed
        } else {
            DialFailure::Broken(error)
        }
    })
}

/// A socket in the sandbox's network. That it cannot be made says nothing about the sandbox.
pub(super) async fn socket_inside(
    launcher: &LauncherClient,
    live: &Handles,
    loopback: Loopback,
) -> Result<TcpSocket, DialFailure> {
    let failed = |failure: Failure| {
        if is_absent(loopback, failure.errno) {
            DialFailure::PortClosed
        } else {
            DialFailure::Broken(io::Error::other(failure.to_string()))
        }
    };
    let asked = launcher.call(Operation::Socket(loopback), &[live.network.as_fd()]).await;
    let (_, mut fds) = asked.map_err(failed)?;
    let socket = fds.pop().ok_or_else(|| DialFailure::Broken(io::ErrorKind::NotFound.into()))?;
    Ok(TcpSocket::from_std_stream(socket.into()))
}

/// Whether the error says that there is no such loopback address.
fn is_absent(loopback: Loopback, errno: Option<i32>) -> bool {
    loopback == Loopback::V6 && errno.is_some_and(|errno| NO_IPV6.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_ipv6_is_no_broken_sandbox() {
        for errno in [libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL, libc::ENETUNREACH] {
            assert!(is_absent(Loopback::V6, Some(errno)), "{errno}");
            assert!(!is_absent(Loopback::V4, Some(errno)), "{errno}");
        }
        assert!(!is_absent(Loopback::V6, Some(libc::EMFILE)));
        assert!(!is_absent(Loopback::V6, None));
    }
}
