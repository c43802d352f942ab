//! Connections into a sandbox's network, of which the launcher makes the sockets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;

use sandscope_engine::DialFailure;
use tokio::net::{TcpSocket, TcpStream};

use super::client::LauncherClient;
use super::handles::Handles;
use super::protocol::Operation;

/// Connects to a port inside.
pub(super) async fn dial(
    launcher: &LauncherClient,
    live: &Handles,
    port: u16,
) -> Result<TcpStream, DialFailure> {
    let socket = socket_inside(launcher, live).await?;
    match socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await {
        Ok(stream) => Ok(stream),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(DialFailure::PortClosed),
        Err(error) => Err(DialFailure::Broken(error)),
    }
}

/// A socket in the sandbox's network. That it cannot be made says nothing about the sandbox.
pub(super) async fn socket_inside(
    launcher: &LauncherClient,
    live: &Handles,
) -> Result<TcpSocket, DialFailure> {
    let failed = |failure| DialFailure::Broken(io::Error::other(format!("{failure}")));
    let (_, mut fds) = launcher.call(Operation::Socket, &[live.network.as_fd()]).await.map_err(failed)?;
    let socket = fds.pop().ok_or_else(|| DialFailure::Broken(io::ErrorKind::NotFound.into()))?;
    Ok(TcpSocket::from_std_stream(socket.into()))
}
