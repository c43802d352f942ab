//! HTTP/1.1 requests to servers that may be slow, broken or hostile.
//!
//! [`exchange`](HttpClient::exchange) does not wait on its own account: its caller drops the future when its deadline
//! passes, and what had arrived until then is in the [`PartialReply`] it passed in. [`send`](HttpClient::send) and
//! [`open`](HttpClient::open) take the deadline as an argument. Redirects are answers like any other, bodies are read up
//! to a limit and never decompressed, heads are bounded.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use url::{Position, Url};

use crate::body::{Outgoing, read_up_to};
use crate::dialer::{Clearance, Dialer, dial_anywhere};
use crate::error::{ExchangeError, SendError};
use crate::pool::{Connection, Keep, Pool};
use crate::reply::{PartialReply, Reply};
use crate::tls::{Tls, TlsError};

/// Smallest limit of a head that hyper takes, in bytes.
const LEAST_HEAD_BYTES: usize = 8 * 1024;
/// How long a kept connection may take to be ready for another request.
const READY_PATIENCE: Duration = Duration::from_secs(1);

/// How a target is reached: it depends on who named it.
#[derive(Debug, Clone)]
pub enum Reach {
    /// A stranger named it: through the guard of this dialer.
    Guarded(Dialer),
    /// The operator, or the user of a command, named it: directly, wherever it is.
    Anywhere,
}

impl Reach {
    fn confirms(&self, clearance: &Clearance) -> bool {
        match self {
            Self::Guarded(dialer) => dialer.confirms(clearance),
            Self::Anywhere => true,
        }
    }
}

/// What an [`HttpClient`] takes, and keeps.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// Largest head of an answer, in bytes; at least 8 KiB.
    pub max_head_bytes: usize,
    /// Most headers of an answer.
    pub max_headers: usize,
    /// How much of an answer's body is read, in bytes; the connection is closed where there is more.
    pub max_answer_bytes: usize,
    /// Connections kept between requests.
    pub max_idle: usize,
    /// How long a connection is kept without use.
    pub idle_for: Duration,
    /// How long a connection is used altogether, so that a changed name is noticed.
    pub max_age: Duration,
    /// Whether a request that a kept connection left without an answer is sent again over a new one. The other side may
    /// have seen it: only for those who can meet a request twice.
    pub resends: bool,
}

/// Sends requests, and keeps connections between them.
pub struct HttpClient {
    reach: Reach,
    tls: Arc<Tls>,
    pool: Pool,
    limits: HttpLimits,
}

impl HttpClient {
    /// A client. Connects at the first request.
    pub fn new(reach: Reach, tls: Arc<Tls>, limits: HttpLimits) -> Self {
        let keep = Keep { n: limits.max_idle, idle: limits.idle_for, age: limits.max_age };
        Self { reach, tls, pool: Pool::new(keep), limits }
    }

    /// Closes connections that have been kept for too long without use, and says when to call again.
    pub fn close_idle(&self) -> Option<Instant> {
        self.pool.sweep()
    }

    /// Sends `request`, whose URI is a path with query, to the host and port of `to`, and reads the whole answer.
    ///
    /// # Errors
    /// [`SendError`] if it does not come, not within `deadline` (from the first DNS query to the last byte), or is too
    /// large.
    pub async fn send(
        &self,
        to: &Url,
        request: Request<Full<Bytes>>,
        deadline: Duration,
    ) -> Result<Reply, SendError> {
        let mut partial = PartialReply::default();
        let exchange = self.exchange(to, request, &mut partial);
        tokio::time::timeout(deadline, exchange).await.map_err(|_| SendError::Timeout(deadline))??;
        let PartialReply { status, headers, body, is_cut } = partial;
        if is_cut {
            return Err(SendError::TooLarge(self.limits.max_answer_bytes));
        }
        // Both are there once an exchange has ended well.
        let (status, headers) = (status.unwrap_or(StatusCode::BAD_GATEWAY), headers.unwrap_or_default());
        Ok(Reply { status, headers, body: body.into() })
    }

    /// Sends `request`, whose URI is a path with query, to the host and port of `to`, leaving what comes back in `reply`
    /// as it comes. Takes as long as it takes: the caller holds the deadline.
    ///
    /// # Errors
    /// [`ExchangeError`] if no complete answer comes back. A body that is longer than the limit is none: the reply says
    /// that it is cut.
    pub async fn exchange(
        &self,
        to: &Url,
        request: Request<Full<Bytes>>,
        reply: &mut PartialReply,
    ) -> Result<(), ExchangeError> {
        let origin = to.origin();
        let request = addressed(to, request)?;
        let (response, connection) = match self.kept(&origin).await {
            None => self.first(to, request.map(Outgoing::Whole)).await?,
            Some(mut connection) => {
                // A kept connection may have been closed by the other side at this very moment, which says nothing about
                // that side: without an answer the request is sent again on a new connection.
                let spare = self.limits.resends.then(|| request.clone());
                match (connection.requests.send_request(request.map(Outgoing::Whole)).await, spare) {
                    (Ok(response), _) => (response, connection),
                    (Err(error), Some(spare)) if !error.is_parse() => {
                        drop(connection);
                        self.first(to, spare.map(Outgoing::Whole)).await?
                    }
                    (Err(error), _) => return Err(error.into()),
                }
            }
        };
        reply.status = Some(response.status());
        reply.headers = Some(response.headers().clone());
        let limit = self.limits.max_answer_bytes;
        reply.is_cut = !read_up_to(response.into_body(), limit, &mut reply.body).await?;
        if !reply.is_cut {
            self.pool.put(origin, connection);
        }
        Ok(())
    }

    /// Sends `request`, whose URI is a path with query, to the host and port of `to`, and hands the answer over as soon
    /// as its head is there. The connection closes with the answer.
    ///
    /// # Errors
    /// [`SendError`] if no head comes back, or not within `deadline`.
    pub async fn open(
        &self,
        to: &Url,
        request: Request<Outgoing>,
        deadline: Duration,
    ) -> Result<Response<Incoming>, SendError> {
        let start = async {
            let request = addressed(to, request)?;
            let (response, connection) = match self.kept(&to.origin()).await {
                Some(mut connection) => (connection.requests.send_request(request).await?, connection),
                None => self.first(to, request).await?,
            };
            connection.finish();
            Ok::<_, ExchangeError>(response)
        };
        Ok(tokio::time::timeout(deadline, start).await.map_err(|_| SendError::Timeout(deadline))??)
    }

    /// A kept connection that takes another request.
    async fn kept(&self, origin: &url::Origin) -> Option<Connection> {
        while let Some(mut connection) = self.pool.take(origin, |clearance| self.reach.confirms(clearance)) {
            let ready = tokio::time::timeout(READY_PATIENCE, connection.requests.ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                return Some(connection);
            }
        }
        None
    }

    /// Sends the first request over a new connection.
    async fn first(
        &self,
        to: &Url,
        request: Request<Outgoing>,
    ) -> Result<(Response<Incoming>, Connection), ExchangeError> {
        let (stream, clearance) = match &self.reach {
            Reach::Guarded(dialer) => {
                let (stream, clearance) = dialer.dial(to).await?;
                (stream, Some(clearance))
            }
            Reach::Anywhere => (dial_anywhere(to).await?, None),
        };
        let mut connection = if to.scheme() == "https" {
            let host = to.host_str().ok_or(TlsError::Name)?;
            self.handshake(self.tls.connect(host, stream).await?, clearance).await?
        } else {
            self.handshake(stream, clearance).await?
        };
        let response = connection.requests.send_request(request).await?;
        Ok((response, connection))
    }

    async fn handshake<S>(&self, stream: S, clearance: Option<Clearance>) -> Result<Connection, ExchangeError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (requests, driver) = http1::Builder::new()
            .max_buf_size(self.limits.max_head_bytes.max(LEAST_HEAD_BYTES))
            .max_headers(self.limits.max_headers)
            .handshake(TokioIo::new(stream))
            .await?;
        // How the connection ends is reported by the exchange that is under way on it.
        let driver = tokio::spawn(async move { drop(driver.await) });
        Ok(Connection::new(requests, driver.abort_handle(), clearance))
    }
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient")
            .field("reach", &self.reach)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// `request` with the host it is for, which comes first.
fn addressed<B>(to: &Url, mut request: Request<B>) -> Result<Request<B>, http::Error> {
    let host = HeaderValue::from_str(&to[Position::BeforeHost..Position::AfterPort])?;
    let given = std::mem::take(request.headers_mut());
    let mut headers = HeaderMap::with_capacity(given.len() + 1);
    headers.insert(header::HOST, host.clone());
    headers.extend(given);
    headers.insert(header::HOST, host);
    *request.headers_mut() = headers;
    Ok(request)
}

#[cfg(test)]
#[path = "http_client_tests.rs"]
mod tests;
