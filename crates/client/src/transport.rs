//! One server, kept connections, bounded answers.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::Url;

use crate::ClientError;
use crate::tls::Tls;

/// Largest answer taken, in bytes: a page of a hundred deliveries with bodies of 64 KiB fits.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// Connections kept for reuse.
const MAX_IDLE_CONNECTIONS: usize = 64;

/// What goes to the server: at once or piece by piece.
pub(crate) type Outgoing = UnsyncBoxBody<Bytes, io::Error>;

/// A connection to one server, many at once if need be. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Transport {
    shared: Arc<Shared>,
}

struct Shared {
    max_answer_bytes: usize,
    host: String,
    port: u16,
    authority: String,
    base_path: String,
    tls: Option<Tls>,
    idle: Mutex<VecDeque<SendRequest<Outgoing>>>,
}

/// A complete answer.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// A body that is there already.
fn whole(body: Full<Bytes>) -> Outgoing {
    body.map_err(|never| match never {}).boxed_unsync()
}

impl Transport {
    /// A transport to the server at `base`, for example `http://127.0.0.1:3000`. Connects lazily.
    pub fn new(base: &str) -> Result<Self, ClientError> {
        Self::trusting(base, None)
    }

    /// Like [`new`](Self::new); with `https` also a server whose certificate comes from an authority in `ca_file`
    /// (PEM) is trusted.
    pub fn trusting(base: &str, ca_file: Option<&Path>) -> Result<Self, ClientError> {
        let refuse = |reason| ClientError::Url { url: base.to_owned(), reason };
        let url = Url::parse(base).map_err(|_| refuse("it is not an absolute URL"))?;
        let is_secure = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(refuse("it must begin with http:// or https://")),
        };
        let host = match url.host().ok_or_else(|| refuse("it names no host"))? {
            url::Host::Domain(name) => name.to_owned(),
            url::Host::Ipv4(address) => address.to_string(),
            url::Host::Ipv6(address) => address.to_string(),
        };
        let port = url.port_or_known_default().unwrap_or(80);
        let authority = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str().unwrap_or(&host)),
            None => url.host_str().unwrap_or(&host).to_owned(),
        };
        let base_path = url.path().trim_end_matches('/').to_owned();
        let tls = is_secure.then(|| Tls::new(&host, &authority, ca_file)).transpose()?;
        let idle = Mutex::new(VecDeque::new());
        let max_answer_bytes = MAX_ANSWER_BYTES;
        let shared = Shared { max_answer_bytes, host, port, authority, base_path, tls, idle };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The same server, whose answers are taken up to `bytes` only.
    #[must_use]
    pub fn with_max_answer(mut self, bytes: usize) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.max_answer_bytes = bytes;
        }
        self
    }

    /// Sends `request`, whose URI is a path with query, and reads the whole answer within `deadline`.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Duration,
    ) -> Result<Reply, ClientError> {
        tokio::time::timeout(deadline, self.exchange(request.map(whole)))
            .await
            .map_err(|_| ClientError::Timeout(deadline))?
    }

    async fn exchange(&self, request: Request<Outgoing>) -> Result<Reply, ClientError> {
        let (response, connection) = self.start(request).await?;
        let (head, body) = response.into_parts();
        let limit = self.shared.max_answer_bytes;
        let body = Limited::new(body, limit).collect().await;
        let body = body.map_err(|error| body_error(error, limit))?.to_bytes();
        self.keep(connection);
        Ok(Reply { status: head.status, headers: head.headers, body })
    }

    /// Sends `request` and hands over the answer as soon as its head is there. The connection is not reused; dropping
    /// the returned sender is fine once the head is there.
    pub(crate) async fn open(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Duration,
    ) -> Result<(Response<Incoming>, SendRequest<Outgoing>), ClientError> {
        self.open_with(request.map(whole), deadline).await
    }

    /// Like [`open`](Self::open), with a body that may come piece by piece.
    pub(crate) async fn open_with(
        &self,
        request: Request<Outgoing>,
        deadline: Duration,
    ) -> Result<(Response<Incoming>, SendRequest<Outgoing>), ClientError> {
        tokio::time::timeout(deadline, self.start(request))
            .await
            .map_err(|_| ClientError::Timeout(deadline))?
    }

    async fn start(
        &self,
        mut request: Request<Outgoing>,
    ) -> Result<(Response<Incoming>, SendRequest<Outgoing>), ClientError> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let target = format!("{}{path}", self.shared.base_path);
        *request.uri_mut() = target.parse::<Uri>().map_err(http::Error::from)?;
        let host = self.shared.authority.parse().map_err(|_| ClientError::Url {
            url: self.shared.authority.clone(),
            reason: "its host is not a valid header value",
        })?;
        request.headers_mut().insert(header::HOST, host);
        let mut connection = self.connection().await?;
        let response = connection.send_request(request).await?;
        Ok((response, connection))
    }

    async fn connection(&self) -> Result<SendRequest<Outgoing>, ClientError> {
        while let Some(mut connection) = self.take_idle() {
            if connection.ready().await.is_ok() {
                return Ok(connection);
            }
        }
        let shared = &self.shared;
        let failed = |source| ClientError::Connect { authority: shared.authority.clone(), source };
        let socket = dial(&shared.host, shared.port).await.map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        match &shared.tls {
            Some(tls) => handshake(tls.connect(socket).await?).await,
            None => handshake(socket).await,
        }
    }

    fn take_idle(&self) -> Option<SendRequest<Outgoing>> {
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).pop_back()
    }

    fn keep(&self, connection: SendRequest<Outgoing>) {
        if connection.is_closed() {
            return;
        }
        let mut idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE_CONNECTIONS {
            idle.push_back(connection);
        }
    }
}

/// Names below `localhost` are this machine (RFC 6761), whatever its resolver knows of them.
async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    if host.ends_with(".localhost") {
        let loopback = [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), (Ipv6Addr::LOCALHOST, port).into()];
        return TcpStream::connect(&loopback[..]).await;
    }
    TcpStream::connect((host, port)).await
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Outgoing>, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (connection, driver) = http1::handshake(TokioIo::new(stream)).await?;
    // The driver ends with the connection; what goes wrong there is reported to whoever holds the sender.
    tokio::spawn(driver);
    Ok(connection)
}

fn body_error(error: Box<dyn std::error::Error + Send + Sync>, limit: usize) -> ClientError {
    if error.is::<LengthLimitError>() {
        return ClientError::TooLarge(limit);
    }
    match error.downcast::<hyper::Error>() {
        Ok(error) => ClientError::Broken(*error),
        Err(error) => ClientError::Malformed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_used_says_why() {
        for (base, reason) in [
            ("localhost:3000", "it must begin with http:// or https://"),
            ("ftp://example.org", "it must begin with http:// or https://"),
            ("/x", "it is not an absolute URL"),
        ] {
            match Transport::new(base) {
                Err(ClientError::Url { reason: said, .. }) => assert_eq!(said, reason, "{base}"),
                _ => panic!("{base} was taken"),
            }
        }
        let transport = Transport::new("http://[::1]:3000/x/").unwrap();
        assert_eq!(transport.shared.host, "::1");
        assert_eq!(transport.shared.authority, "[::1]:3000");
        assert_eq!(transport.shared.base_path, "/x");
        let transport = Transport::new("https://api.example.org").unwrap();
        assert_eq!((transport.shared.port, transport.shared.tls.is_some()), (443, true));
    }
}
