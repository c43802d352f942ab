//! One server, kept connections, bounded answers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use sandscope_outbound::{
    BaseUrl, DialError, ExchangeError, HttpClient, HttpLimits, Outgoing, Reach, Reply, SendError, Tls,
    TlsError,
};

use crate::ClientError;

/// A request is sent once. Answers are taken up to a page of a hundred deliveries with bodies of 64 KiB.
const LIMITS: HttpLimits = HttpLimits {
    max_head_bytes: 400 * 1024,
    max_headers: 100,
    max_answer_bytes: 32 * 1024 * 1024,
    max_idle: 64,
    idle_for: Duration::MAX,
    max_age: Duration::MAX,
    resends: false,
};

/// A connection to one server, many at once if need be. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Transport {
    shared: Arc<Shared>,
}

struct Shared {
    base: BaseUrl,
    http: HttpClient,
}

impl Transport {
    /// A transport to the server at `base`, for example `http://127.0.0.1:3000`. Connects lazily.
    ///
    /// # Errors
    /// [`ClientError::Url`] if `base` is no address of a server.
    pub fn new(base: &str) -> Result<Self, ClientError> {
        Self::trusting(base, None)
    }

    /// Like [`new`](Self::new); with `https` also a server whose certificate comes from an authority in `ca_file`
    /// (PEM) is trusted.
    ///
    /// # Errors
    /// [`ClientError::Url`] if `base` is no address of a server.
    pub fn trusting(base: &str, ca_file: Option<&Path>) -> Result<Self, ClientError> {
        let base = base.parse()?;
        let http = HttpClient::new(Reach::Anywhere, Arc::new(Tls::trusting(ca_file)), LIMITS);
        Ok(Self { shared: Arc::new(Shared { base, http }) })
    }

    /// Sends `request`, whose URI is a path with query, and reads the whole answer within `deadline`.
    ///
    /// # Errors
    /// [`ClientError`] if no complete answer comes in time.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        deadline: Duration,
    ) -> Result<Reply, ClientError> {
        let Shared { base, http } = &*self.shared;
        http.send(base.url(), base.aim(request)?, deadline).await.map_err(|error| self.failed(error))
    }

    /// Sends `request` and hands over the answer as soon as its head is there. The connection is not reused.
    pub(crate) async fn open(
        &self,
        request: Request<impl Into<Outgoing>>,
        deadline: Duration,
    ) -> Result<Response<Incoming>, ClientError> {
        let Shared { base, http } = &*self.shared;
        let request = base.aim(request.map(Into::into))?;
        http.open(base.url(), request, deadline).await.map_err(|error| self.failed(error))
    }

    /// In the words of somebody who runs a command.
    fn failed(&self, error: SendError) -> ClientError {
        let authority = || self.shared.base.authority().to_owned();
        let error = match error {
            SendError::Exchange(error) => error,
            SendError::Timeout(deadline) => return ClientError::Timeout(deadline),
            SendError::TooLarge(limit) => return ClientError::TooLarge(limit),
        };
        match error {
            ExchangeError::Dial(DialError::Connect(source)) => {
                ClientError::Connect { authority: authority(), source }
            }
            ExchangeError::Dial(error) => {
                ClientError::Connect { authority: authority(), source: std::io::Error::other(error) }
            }
            ExchangeError::Tls(TlsError::Handshake(source)) => {
                ClientError::Tls { authority: authority(), source }
            }
            ExchangeError::Tls(TlsError::NoRoots(why)) => {
                let why = why.map_or_else(String::new, |why| format!(": {why}"));
                ClientError::Certificates(format!("this system trusts nobody{why}"))
            }
            ExchangeError::Tls(error) => ClientError::Certificates(error.to_string()),
            ExchangeError::Request(error) => ClientError::Request(error),
            ExchangeError::Unsendable(error)
            | ExchangeError::HeadTooLarge(error)
            | ExchangeError::NotHttp(error)
            | ExchangeError::Broken(error) => ClientError::Broken(error),
        }
    }
}
