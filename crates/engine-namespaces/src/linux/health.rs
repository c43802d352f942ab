//! Whether a sandbox that runs is still of use: held by its control groups, and with an agent that answers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sandscope_agent_protocol::AGENT_PORT;

use super::client::LauncherClient;
use super::dial::socket_inside;
use super::protocol::Loopback;
use super::sandbox::Sandbox;
use sandscope_engine::Ailment;

/// How long an agent may take to answer one check.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Whether the sandbox is of use, as far as it is to be now.
pub(super) async fn check(launcher: &LauncherClient, sandbox: &Sandbox) -> Result<(), Ailment> {
    if !sandbox.is_responsive() {
        return Ok(());
    }
    if sandbox.cgroup.is_removed() {
        return Err(Ailment::LimitsLost);
    }
    let Some(live) = sandbox.live() else { return Ok(()) };
    let socket = match socket_inside(launcher, &live, Loopback::V4).await {
        Ok(socket) => socket,
        Err(error) => {
            tracing::debug!(sandbox_id = %sandbox.id, %error, "its agent cannot be asked");
            return Ok(());
        }
    };
    let asked = async {
        let stream = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, AGENT_PORT))).await?;
        sandscope_agent_link::ask_health(stream.into()).await.map_err(io::Error::other)
    };
    let answer =
        tokio::time::timeout(ANSWER_LIMIT, asked).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()));
    match answer {
        // It may have been paused, or have ended, while it was asked.
        Err(error) if sandbox.is_responsive() => {
            tracing::debug!(sandbox_id = %sandbox.id, %error, "its agent does not answer");
            Err(Ailment::Silent)
        }
        _ => Ok(()),
    }
}
