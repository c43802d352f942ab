//! One HTTP exchange with a receiver that may be slow, broken or hostile.
//!
//! Nothing here waits on its own account: the caller drops the future when the attempt's deadline passes, and what
//! had arrived until then is in the [`Reply`] it passed in. Redirects are answers like any other, response bodies are
//! read up to [`MAX_BODY_BYTES`] and never decompressed, heads are bounded.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sandscope_model::ErrorClass;
use tokio::io::{AsyncRead, AsyncWrite};
use url::Url;

use crate::guard::{Clearance, DialError, Dialer};
use crate::pool::{Connection, Pool};
use crate::tls::{Tls, TlsError};

/// How much of a response's body is read; the connection is dropped then.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;
/// How large a response's head may be.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// How many headers it may have.
const MAX_HEADERS: usize = 100;

/// What came back, as far as it came.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: Option<u16>,
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) body: Vec<u8>,
    /// There was more.
    pub(crate) is_cut: bool,
}

/// Why nothing usable came back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the request could not be made")]
    Request,
    #[error("the response's headers are too large")]
    HeadTooLarge,
    #[error("the receiver did not answer with valid HTTP")]
    NotHttp,
    #[error("the connection broke before the whole response had arrived")]
    Broken,
}

impl ExchangeError {
    pub(crate) const fn class(&self) -> ErrorClass {
        match self {
            Self::Dial(DialError::Refused(_)) | Self::Request => ErrorClass::RequestError,
            Self::Dial(DialError::Unresolved) => ErrorClass::DnsError,
            Self::Dial(DialError::Connect(_) | DialError::Proxy) | Self::Tls(_) => ErrorClass::TransportError,
            Self::HeadTooLarge | Self::NotHttp | Self::Broken => ErrorClass::TransportError,
        }
    }
}

impl From<hyper::Error> for ExchangeError {
    fn from(error: hyper::Error) -> Self {
        if error.is_parse_too_large() {
            Self::HeadTooLarge
        } else if error.is_parse() {
            Self::NotHttp
        } else if error.is_user() {
            Self::Request
        } else {
            Self::Broken
        }
    }
}

/// Sends requests for one webhook.
pub(crate) struct Exchanger {
    dialer: Dialer,
    tls: std::sync::Arc<Tls>,
    pool: Pool,
    max_idle: usize,
}

impl Exchanger {
    /// An exchanger that keeps up to `max_idle` connections open between attempts.
    pub(crate) fn new(dialer: Dialer, tls: std::sync::Arc<Tls>, max_idle: usize) -> Self {
        Self { dialer, tls, pool: Pool::default(), max_idle }
    }

    /// The idle connections.
    pub(crate) const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Posts `body` to `url`, leaving what comes back in `reply`.
    pub(crate) async fn post(
        &self,
        url: &Url,
        headers: &HeaderMap,
        body: &Bytes,
        reply: &mut Reply,
    ) -> Result<(), ExchangeError> {
        let origin = url.origin();
        let (mut connection, response) = self.send(url, &origin, headers, body).await?;
        reply.status = Some(response.status().as_u16());
        reply.headers = Some(response.headers().clone());
        reply.is_cut = !read_body(response.into_body(), &mut reply.body).await?;
        // Ready again: the whole answer has been read and neither side asked to close.
        if !reply.is_cut && connection.requests.ready().await.is_ok() {
            self.pool.put(origin, connection, self.max_idle);
        }
        Ok(())
    }

    async fn send(
        &self,
        url: &Url,
        origin: &url::Origin,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<(Connection, Response<Incoming>), ExchangeError> {
        if let Some(mut connection) = self.pool.take(origin, |clearance| self.dialer.confirms(clearance)) {
            // An idle connection may have been closed by the other side at this very moment, which says nothing
            // about the receiver: without an answer it is tried again on a new connection.
            match connection.requests.send_request(request(url, headers, body)?).await {
                Ok(response) => return Ok((connection, response)),
                Err(error) if error.is_parse() => return Err(error.into()),
                Err(_) => {}
            }
        }
        let mut connection = self.open(url).await?;
        let response = connection.requests.send_request(request(url, headers, body)?).await?;
        Ok((connection, response))
    }

    async fn open(&self, url: &Url) -> Result<Connection, ExchangeError> {
        let (stream, clearance) = self.dialer.dial(url).await?;
        if url.scheme() == "https" {
            let host = url.host_str().ok_or(ExchangeError::Request)?;
            handshake(self.tls.connect(host, stream).await?, clearance).await
        } else {
            handshake(stream, clearance).await
        }
    }
}

async fn handshake<S>(stream: S, clearance: Clearance) -> Result<Connection, ExchangeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (requests, driver) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await?;
    // How the connection ends is reported by the exchange that is under way on it.
    let driver = tokio::spawn(async move { drop(driver.await) });
    Ok(Connection::new(requests, driver.abort_handle(), clearance))
}

fn request(url: &Url, headers: &HeaderMap, body: &Bytes) -> Result<Request<Full<Bytes>>, ExchangeError> {
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let mut request = Request::builder().method(Method::POST).uri(target).header(header::HOST, host);
    if let Some(target_headers) = request.headers_mut() {
        target_headers.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    request.body(Full::new(body.clone())).map_err(|_| ExchangeError::Request)
}

/// Reads up to [`MAX_BODY_BYTES`]; whether that was all of it.
async fn read_body(mut incoming: Incoming, body: &mut Vec<u8>) -> Result<bool, ExchangeError> {
    while let Some(frame) = incoming.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let room = MAX_BODY_BYTES - body.len();
        body.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return Ok(false);
        }
    }
    Ok(true)
}
