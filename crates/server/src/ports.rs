//! The ports of a server: reserved early, so that a start that must fail does so before it changed anything, listened
//! on last, so that every client that can connect is served.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use sandscope_config::{self as config, Config};
use sandscope_tasks::{Phase, Tasks};
use tokio::net::TcpSocket;

use crate::addresses::Addresses;
use crate::http::{Http, Limits, Tls};
use crate::operator::{self, Operator};

/// Part of the drain's time that requests under way may take.
const HTTP_SHARE: f32 = 0.5;

/// Connections that wait in the kernel's queue.
const BACKLOG: u32 = 1024;

/// Connections to the operator's port, at once and waiting.
const OPERATOR_CONNECTIONS: usize = 16;
const OPERATOR_BACKLOG: u32 = 16;

/// Sockets that nobody can connect to yet.
pub(crate) struct Ports {
    socket: TcpSocket,
    operator: Option<TcpSocket>,
    /// Where clients will find the server.
    pub(crate) addresses: Addresses,
    /// The port of both planes.
    pub(crate) own: u16,
}

impl Ports {
    /// Takes the addresses of `config`.
    pub(crate) fn reserve(config: &Config, tls: Option<&Tls>) -> anyhow::Result<Self> {
        let taken = |listen| reserve(listen).with_context(|| format!("cannot listen on {listen}"));
        let socket = taken(config.server.listen)?;
        let address = socket.local_addr().context("cannot read the port")?;
        let addresses = Addresses::of(address, &config.server.domain, tls.is_some());
        if let Some(tls) = tls {
            warn_about_names(tls, &config.server.domain);
        }
        let operator = config.metrics.operator_listen.map(taken).transpose()?;
        Ok(Self { socket, operator, addresses, own: address.port() })
    }

    /// Lets clients in, to `router` and to the operator's port. Returns where they come to.
    pub(crate) fn open(
        self,
        config: &Config,
        tls: Option<&Tls>,
        router: Router,
        operator: Operator,
        tasks: &Tasks,
    ) -> anyhow::Result<SocketAddr> {
        let server = &config.server;
        let listener =
            self.socket.listen(BACKLOG).with_context(|| format!("cannot listen on {}", server.listen))?;
        let limits = Limits {
            max_connections: server.max_connections,
            max_keyless: server.max_keyless_connections,
            header_timeout: server.header_timeout,
        };
        let proxies = server.trusted_proxies.clone();
        let http = Http::start(("listener", tasks), listener, router, limits, proxies, tls)?;
        let address = http.address();
        // Long streams into sandboxes would take all of the time, and transitions under way need their share.
        let share = server.drain_timeout.mul_f32(HTTP_SHARE);
        tasks.at_drain(Phase::Listen, move |_| async move { http.drain(share).await });
        if let Some(socket) = self.operator {
            let listener = socket.listen(OPERATOR_BACKLOG).context("cannot listen on the operator's port")?;
            let most = OPERATOR_CONNECTIONS;
            let limits = Limits { max_connections: most, max_keyless: most, ..limits };
            let name = ("operator-listener", tasks);
            let http = Http::start(name, listener, operator::router(operator), limits, Vec::new(), None)?;
            tracing::info!(url = format!("http://{}/metrics", http.address()), "the operator's port");
            tasks.at_drain(Phase::Listen, |_| async move { http.drain(Duration::ZERO).await });
        }
        Ok(address)
    }
}

/// A certificate for other names works for nobody who comes by these.
fn warn_about_names(tls: &Tls, domain: &config::Domain) {
    let name = &domain.name;
    let names = if domain.is_local() {
        vec![name.clone()]
    } else {
        vec![format!("api.{name}"), format!("49983-i00000000000000000000.{name}")]
    };
    for name in tls.missing(&names) {
        tracing::warn!(name, "clients will refuse the certificate for this name");
    }
}

/// Takes the address without letting anybody in yet.
fn reserve(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // The last server's connections may still linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
