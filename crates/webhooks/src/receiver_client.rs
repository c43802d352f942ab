//! How receivers are spoken to: through the guard, with bounded answers, and with no word that is not in the record.

use std::sync::Arc;
use std::time::Duration;

use sandscope_model::ErrorClass;
use sandscope_outbound::{DialError, Dialer, ExchangeError, HttpClient, HttpLimits, Reach, Tls};

/// An event may arrive twice anyway, so a request that a kept connection lost is sent again.
const LIMITS: HttpLimits = HttpLimits {
    max_head_bytes: 32 * 1024,
    max_headers: 100,
    max_answer_bytes: 64 * 1024,
    max_idle: 0,
    // Receivers commonly close idle connections after five seconds; ours go first.
    idle_for: Duration::from_secs(4),
    max_age: Duration::from_secs(60),
    resends: true,
};

/// A client for the receiver of one webhook, which keeps up to `max_idle` connections between attempts.
pub(crate) fn new(dialer: Dialer, tls: Arc<Tls>, max_idle: usize) -> HttpClient {
    HttpClient::new(Reach::Guarded(dialer), tls, HttpLimits { max_idle, ..LIMITS })
}

/// What an attempt's record says of `error`.
pub(crate) const fn class(error: &ExchangeError) -> ErrorClass {
    match error {
        ExchangeError::Dial(DialError::Refused(_)) => ErrorClass::RequestError,
        ExchangeError::Request(_) | ExchangeError::Unsendable(_) => ErrorClass::RequestError,
        ExchangeError::Dial(DialError::Unresolved) => ErrorClass::DnsError,
        ExchangeError::Dial(DialError::Connect(_) | DialError::Proxy(_)) | ExchangeError::Tls(_) => {
            ErrorClass::TransportError
        }
        ExchangeError::HeadTooLarge(_) | ExchangeError::NotHttp(_) | ExchangeError::Broken(_) => {
            ErrorClass::TransportError
        }
    }
}
