//! Every connection the server makes for somebody, and the HTTP spoken over it.
//!
//! ```text
//!  a stranger's URL ──web_url──▶ EgressRules ──▶ Dialer: resolve, check ALL addresses, dial a checked one ─┐
//!                                                   └─ or ask the proxy for it                             ├─▶ Tls
//!  the operator's URL ──BaseUrl──▶ Reach::Anywhere: dial ──────────────────────────────────────────────────┘    │
//!                                                                                                               ▼
//!                                    HttpClient: one request, a bounded answer ◀── Pool of kept connections ◀───┘
//! ```
//!
//! Who names the target decides how it is reached. A stranger's target (a webhook's URL) goes through an
//! [`EgressGuard`], which the operator's rules govern; a target that the operator or the user of a command names (a
//! collector, their own server) is reached directly.
//!
//! Ownership: an [`HttpClient`] owns the connections it keeps, and each connection the task that drives it. Guards
//! share their rules with their clones, so that replaced rules hold everywhere at once.
//!
//! Failure cases: the other side may be slow, broken or hostile. Heads, bodies, kept connections and lookups are
//! bounded; one deadline covers everything from the first DNS query to the last byte of the answer, and dropping a
//! request's future closes its connection.

mod address;
mod allowed;
mod base_url;
mod body;
mod dialer;
mod error;
mod guard;
mod http_client;
mod pool;
mod proxy;
mod reply;
mod resolver;
mod rules;
mod tls;
mod web_url;

pub use address::is_public;
pub use allowed::{AllowedTarget, MalformedTarget};
pub use base_url::{BaseUrl, BaseUrlError};
pub use body::{AnswerError, Outgoing, read_answer};
pub use dialer::{Clearance, DialError, Dialer};
pub use error::{ExchangeError, SendError};
pub use guard::EgressGuard;
pub use http_client::{HttpClient, HttpLimits, Reach};
pub use proxy::{MalformedProxy, ProxyAddress, ProxyError};
pub use reply::{PartialReply, Reply};
pub use resolver::Resolve;
pub use rules::{EgressRules, GuardError};
pub use tls::{CaFileError, Tls, TlsError};
pub use web_url::{UrlError, normal_web_url, web_url};
