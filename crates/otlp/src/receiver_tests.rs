//! A collector for tests: takes what a test lets it take, and remembers it.

use std::collections::VecDeque;
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use tokio::sync::watch;

/// What it answers to a request for logs with these bodies or event names.
pub(crate) type Mood = Box<dyn FnMut(&[String]) -> Answer + Send>;

pub(crate) enum Answer {
    Take,
    TakeBut(i64),
    Refuse(u16),
    ComeIn(u16, &'static str),
}

#[derive(Default)]
struct Inner {
    moods: VecDeque<Mood>,
    requests: Vec<ExportLogsServiceRequest>,
    metrics: Vec<ExportMetricsServiceRequest>,
    headers: Vec<HeaderMap>,
    n_asked: usize,
    refuses_metrics: bool,
}

#[derive(Clone)]
pub(crate) struct Receiver {
    inner: Arc<Mutex<Inner>>,
    changed: watch::Sender<()>,
    pub(crate) url: String,
}

fn unpacked(headers: &HeaderMap, body: &Bytes) -> Vec<u8> {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    if headers.get("content-encoding").is_none() {
        return body.to_vec();
    }
    let mut plain = Vec::new();
    GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
    plain
}

/// The record's body.
pub(crate) fn words(record: &LogRecord) -> String {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    match record.body.as_ref().and_then(|body| body.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("{other:?}"),
    }
}

fn records(request: &ExportLogsServiceRequest) -> impl Iterator<Item = &LogRecord> {
    request.resource_logs.iter().flat_map(|of| &of.scope_logs).flat_map(|of| &of.log_records)
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let receiver = Self { inner: Arc::default(), changed: watch::Sender::new(()), url };
        let (logs, metrics) = (receiver.clone(), receiver.clone());
        let router = axum::Router::new()
            .route("/v1/logs", post(move |headers, body| std::future::ready(logs.take_logs(headers, &body))))
            .route(
                "/v1/metrics",
                post(move |headers, body| std::future::ready(metrics.take_metrics(&headers, &body))),
            );
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    /// The next requests for logs are answered so; those after them are taken.
    pub(crate) fn then(&self, mood: impl FnMut(&[String]) -> Answer + Send + 'static) {
        self.inner.lock().unwrap().moods.push_back(Box::new(mood));
    }

    /// From now on all requests for logs are taken.
    pub(crate) fn be_well(&self) {
        self.inner.lock().unwrap().moods.clear();
    }

    /// Whether requests for metrics are answered as by one that is away.
    pub(crate) fn refuse_metrics(&self, refuse: bool) {
        self.inner.lock().unwrap().refuses_metrics = refuse;
    }

    fn take_logs(&self, headers: HeaderMap, body: &Bytes) -> Response {
        let request = ExportLogsServiceRequest::decode(&unpacked(&headers, body)[..]).unwrap();
        let mut inner = self.inner.lock().unwrap();
        inner.n_asked += 1;
        inner.headers.push(headers);
        let said: Vec<String> = records(&request).map(words).collect();
        let answer = inner.moods.front_mut().map_or(Answer::Take, |mood| mood(&said));
        let n_rejected = match answer {
            Answer::Refuse(status) => {
                self.changed.send_replace(());
                return StatusCode::from_u16(status).unwrap().into_response();
            }
            Answer::ComeIn(status, when) => {
                self.changed.send_replace(());
                return (StatusCode::from_u16(status).unwrap(), [("retry-after", when)]).into_response();
            }
            Answer::Take => 0,
            Answer::TakeBut(n) => n,
        };
        inner.requests.push(request);
        drop(inner);
        self.changed.send_replace(());
        let partial = ExportLogsPartialSuccess {
            rejected_log_records: n_rejected,
            error_message: "too old".to_owned(),
        };
        let partial_success = (n_rejected > 0).then_some(partial);
        ExportLogsServiceResponse { partial_success }.encode_to_vec().into_response()
    }

    fn take_metrics(&self, headers: &HeaderMap, body: &Bytes) -> Response {
        let request = ExportMetricsServiceRequest::decode(&unpacked(headers, body)[..]).unwrap();
        let refuses = {
            let mut inner = self.inner.lock().unwrap();
            if !inner.refuses_metrics {
                inner.metrics.push(request);
            }
            inner.refuses_metrics
        };
        self.changed.send_replace(());
        if refuses {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        ExportMetricsServiceResponse::default().encode_to_vec().into_response()
    }

    /// What the records that were taken say, in the order they came.
    pub(crate) fn taken(&self) -> Vec<LogRecord> {
        self.inner.lock().unwrap().requests.iter().flat_map(records).cloned().collect()
    }

    pub(crate) fn requests(&self) -> Vec<ExportLogsServiceRequest> {
        self.inner.lock().unwrap().requests.clone()
    }

    pub(crate) fn metrics(&self) -> Vec<ExportMetricsServiceRequest> {
        self.inner.lock().unwrap().metrics.clone()
    }

    pub(crate) fn headers(&self) -> Vec<HeaderMap> {
        self.inner.lock().unwrap().headers.clone()
    }

    /// Requests for logs so far, whatever came of them.
    pub(crate) fn n_asked(&self) -> usize {
        self.inner.lock().unwrap().n_asked
    }

    /// Waits until `is_so`; at most half a minute.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            while !is_so(self) {
                changed.changed().await.unwrap();
            }
        };
        let limit = std::time::Duration::from_secs(30);
        tokio::time::timeout(limit, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
    }
}
