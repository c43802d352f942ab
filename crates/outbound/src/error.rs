use std::time::Duration;

use crate::dialer::DialError;
use crate::tls::TlsError;

/// Why nothing usable came back of a request.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// There is no connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// There is no secure connection.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The request cannot be made of these values.
    #[error("the request could not be made")]
    Request(#[from] http::Error),
    /// The request's body, or the order of things, was at fault.
    #[error("the request could not be made")]
    Unsendable(#[source] hyper::Error),
    /// The head of the answer is larger than is taken.
    #[error("the response's headers are too large")]
    HeadTooLarge(#[source] hyper::Error),
    /// The answer is no HTTP.
    #[error("the receiver did not answer with valid HTTP")]
    NotHttp(#[source] hyper::Error),
    /// The connection broke.
    #[error("the connection broke before the whole response had arrived")]
    Broken(#[source] hyper::Error),
}

impl From<hyper::Error> for ExchangeError {
    fn from(error: hyper::Error) -> Self {
        if error.is_parse_too_large() {
            Self::HeadTooLarge(error)
        } else if error.is_parse() {
            Self::NotHttp(error)
        } else if error.is_user() {
            Self::Unsendable(error)
        } else {
            Self::Broken(error)
        }
    }
}

/// Why there is no complete answer in time.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Nothing usable came back.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// Not within this time, from the first DNS query to the last byte of the answer.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// The answer's body is longer than this many bytes.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}
