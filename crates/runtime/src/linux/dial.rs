//! Connections into a sandbox's network, of which the launcher makes the sockets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;

use tokio::net::{TcpSocket, TcpStream};

use super::client::LauncherClient;
use super::live::Live;
use super::protocol::Operation;
use crate::ConnectError;

/// Connects to a port inside.
pub(super) async fn dial(
    launcher: &LauncherClient,
    live: &Live,
    port: u16,
) -> Result<TcpStream, ConnectError> {
    let socket = socket_inside(launcher, live).await?;
    match socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await {
        Ok(stream) => Ok(stream),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(ConnectError::PortClosed),
        Err(error) => Err(ConnectError::Socket(error)),
    }
}

/// A socket in the sandbox's network. That it cannot be made says nothing about the sandbox.
pub(super) async fn socket_inside(launcher: &LauncherClient, live: &Live) -> Result<TcpSocket, ConnectError> {
    let failed = |failure| ConnectError::Socket(io::Error::other(format!("{failure}")));
    let (_, mut fds) = launcher.call(Operation::Socket, &[live.network.as_fd()]).await.map_err(failed)?;
    let socket = fds.pop().ok_or_else(|| ConnectError::Socket(io::ErrorKind::NotFound.into()))?;
    Ok(TcpSocket::from_std_stream(socket.into()))
}
