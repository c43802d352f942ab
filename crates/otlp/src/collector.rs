//! One request to the collector, and what its answer means. The collector is the operator's own choice, so it may be
//! anywhere; redirects are not followed, answers are bounded, and one deadline covers everything.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::Full;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message;
use sandscope_outbound::{BaseUrl, BaseUrlError, HttpClient, HttpLimits, Reach, Reply, Tls};

/// A request is sent once: what to do after a failure is the courier's decision.
const LIMITS: HttpLimits = HttpLimits {
    max_head_bytes: 400 * 1024,
    max_headers: 100,
    max_answer_bytes: 64 * 1024,
    max_idle: 64,
    idle_for: Duration::MAX,
    max_age: Duration::MAX,
    resends: false,
};
/// Longest text of a collector that is repeated in our log.
const MAX_WORDS: usize = 200;
/// Longest wait a collector may ask for.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// Which collector, and how it is spoken to.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its base address; `/v1/logs` and `/v1/metrics` are added.
    pub endpoint: String,
    /// Sent with every request. Values that are secrets are marked so.
    pub headers: HeaderMap,
    /// An authority that is trusted beside the system's (PEM).
    pub ca_file: Option<PathBuf>,
    /// For one request, from the first byte of it to the last of the answer.
    pub timeout: Duration,
    /// Whether requests are compressed.
    pub gzip: bool,
}

/// The collector cannot be spoken to.
#[derive(Debug, thiserror::Error)]
#[error("the collector's address cannot be used: {0}")]
pub struct CollectorError(#[from] BaseUrlError);

/// A collector.
pub struct Collector {
    base: BaseUrl,
    http: HttpClient,
    target: Target,
}

/// Where on the collector a kind of data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    Logs,
    Metrics,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SendOutcome {
    /// Taken, but for so many.
    Taken { n_rejected: u64, words: String },
    /// Not now.
    Later { why: String, after: Option<Duration> },
    /// Not like this: smaller, or not at all.
    Unfit { why: String },
}

impl Collector {
    /// The collector at `target`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`CollectorError`] if the address is none.
    pub fn new(target: Target) -> Result<Self, CollectorError> {
        let base = target.endpoint.parse()?;
        let tls = Arc::new(Tls::trusting(target.ca_file.as_deref()));
        Ok(Self { base, http: HttpClient::new(Reach::Anywhere, tls, LIMITS), target })
    }

    /// `message` as it is sent.
    pub(crate) fn pack(&self, message: &impl Message) -> Bytes {
        let plain = message.encode_to_vec();
        if !self.target.gzip {
            return plain.into();
        }
        let mut packed = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
        // Writing to memory cannot fail.
        let _ = packed.write_all(&plain);
        packed.finish().unwrap_or_default().into()
    }

    /// Sends a packed request.
    pub(crate) async fn post(&self, path: Path, body: Bytes, now: SystemTime) -> SendOutcome {
        let uri = match path {
            Path::Logs => "/v1/logs",
            Path::Metrics => "/v1/metrics",
        };
        let mut request = Request::post(uri).header(header::CONTENT_TYPE, "application/x-protobuf");
        if self.target.gzip {
            request = request.header(header::CONTENT_ENCODING, "gzip");
        }
        if let Some(headers) = request.headers_mut() {
            let agent = concat!("sandscope/", env!("CARGO_PKG_VERSION"));
            headers.insert(header::USER_AGENT, http::HeaderValue::from_static(agent));
            headers.extend(self.target.headers.clone());
        }
        let request = match request.body(Full::new(body)).and_then(|request| self.base.aim(request)) {
            Ok(request) => request,
            Err(error) => return SendOutcome::Later { why: error.to_string(), after: None },
        };
        match self.http.send(self.base.url(), request, self.target.timeout).await {
            Ok(reply) => judge(path, &reply, now),
            Err(error) => SendOutcome::Later { why: chain(&error), after: None },
        }
    }
}

/// Errors that do not say what caused them say little. Some do already.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        cause = inner.source();
    }
    text
}

fn judge(path: Path, reply: &Reply, now: SystemTime) -> SendOutcome {
    let status = reply.status;
    // The protocol asks for 200, but collectors and the proxies in front of them answer 202 and 204 as well. Sending
    // again what was taken would repeat it without end.
    if status.is_success() {
        return taken(path, &reply.body);
    }
    let why = format!("it answered {status}");
    match status {
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => SendOutcome::Unfit { why },
        // Also what the protocol calls final: a wrong key or a wrong path is no reason to lose anything.
        _ => SendOutcome::Later { why, after: retry_after(reply, now) },
    }
}

/// An answer without a body, or with one that is not understood, is a success nonetheless: its status said so.
fn taken(path: Path, body: &Bytes) -> SendOutcome {
    let partial = match path {
        Path::Logs => ExportLogsServiceResponse::decode(body.clone())
            .ok()
            .and_then(|answer| answer.partial_success)
            .map(|partial| (partial.rejected_log_records, partial.error_message)),
        Path::Metrics => ExportMetricsServiceResponse::decode(body.clone())
            .ok()
            .and_then(|answer| answer.partial_success)
            .map(|partial| (partial.rejected_data_points, partial.error_message)),
    };
    let (n_rejected, words) = partial.unwrap_or_default();
    // Somebody else's words end up in a terminal.
    let words = words.chars().filter(|char| !char.is_control()).take(MAX_WORDS).collect();
    SendOutcome::Taken { n_rejected: u64::try_from(n_rejected).unwrap_or(0), words }
}

fn retry_after(reply: &Reply, now: SystemTime) -> Option<Duration> {
    let text = reply.headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(MAX_WAIT))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;

    use super::*;

    fn reply(status: u16, headers: &[(header::HeaderName, &'static str)], body: Vec<u8>) -> Reply {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        Reply { status: StatusCode::from_u16(status).unwrap(), headers, body: body.into() }
    }

    fn outcome(status: u16, headers: &[(header::HeaderName, &'static str)]) -> SendOutcome {
        let now = httpdate::parse_http_date("Thu, 01 Jan 2026 00:00:00 GMT").unwrap();
        judge(Path::Logs, &reply(status, headers, Vec::new()), now)
    }

    #[test]
    fn what_the_protocol_calls_final_loses_nothing_unless_the_data_is_at_fault() {
        for status in [429, 502, 503, 504, 301, 401, 404, 500] {
            assert!(matches!(outcome(status, &[]), SendOutcome::Later { after: None, .. }), "{status}");
        }
        for status in [400, 413] {
            assert!(matches!(outcome(status, &[]), SendOutcome::Unfit { .. }), "{status}");
        }
        for status in [200, 201, 202, 204, 206, 299] {
            let taken = SendOutcome::Taken { n_rejected: 0, words: String::new() };
            assert_eq!(outcome(status, &[]), taken, "{status}");
        }
    }

    #[test]
    fn a_collector_says_when_to_come_again_in_either_way_and_within_reason() {
        for (text, seconds) in [
            ("7", Some(7)),
            ("99999999", Some(300)),
            ("Thu, 01 Jan 2026 00:00:30 GMT", Some(30)),
            ("Wed, 31 Dec 2025 00:00:00 GMT", Some(0)),
            ("soon", None),
        ] {
            let SendOutcome::Later { after, .. } = outcome(503, &[(header::RETRY_AFTER, text)]) else {
                panic!("503 is not final");
            };
            assert_eq!(after, seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn what_a_collector_refuses_is_counted_and_its_words_are_tame() {
        let partial_success = Some(ExportLogsPartialSuccess {
            rejected_log_records: 3,
            error_message: format!("\x1b[31mtoo\nold{}", "!".repeat(1000)),
        });
        let body = ExportLogsServiceResponse { partial_success }.encode_to_vec();
        for status in [200, 202] {
            let SendOutcome::Taken { n_rejected, words } =
                judge(Path::Logs, &reply(status, &[], body.clone()), SystemTime::UNIX_EPOCH)
            else {
                panic!("{status} is taken");
            };
            assert_eq!((n_rejected, words.len()), (3, MAX_WORDS));
            assert!(words.starts_with("[31mtooold!"));
        }
        // Not protobuf at all.
        let odd = judge(Path::Metrics, &reply(200, &[], b"{}ok".to_vec()), SystemTime::UNIX_EPOCH);
        assert_eq!(odd, SendOutcome::Taken { n_rejected: 0, words: String::new() });
    }
}
