//! What every request passes through before it reaches a route.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::MatchedPath;
use axum::middleware::from_fn_with_state;
use http::header::CACHE_CONTROL;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use sandscope_model::Entropy;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{Any as AnyOrigin, CorsLayer};
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::trace::TraceLayer;

use crate::error;
use crate::parameters::{Parameters, name_ignored};

const ALLOWED_HEADERS: [&str; 21] = [
    "origin",
    "last-event-id",
    "content-length",
    "content-type",
    "user-agent",
    "authorization",
    "x-api-key",
    "x-team-id",
    "idempotency-key",
    "x-request-id",
    "browser",
    "lang",
    "lang_version",
    "machine",
    "os",
    "package_version",
    "processor",
    "publisher",
    "release",
    "sdk_runtime",
    "system",
];

const EXPOSED_HEADERS: [&str; 11] = [
    "x-next-token",
    "x-next-cursor",
    "x-has-more",
    "x-events-lost",
    "x-ignored-parameters",
    "x-total-running",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "retry-after",
    "x-request-id",
];

/// Puts the layers around `router`.
pub(crate) fn wrap<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    entropy: &Arc<dyn Entropy>,
    parameters: Arc<Parameters>,
) -> Router<S> {
    let header = HeaderName::from_static("x-request-id");
    let span = |request: &Request<_>| {
        let route = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str);
        let request_id =
            request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
        tracing::debug_span!("request", method = %request.method(), route, request_id)
    };
    router.layer(
        ServiceBuilder::new()
            .layer(SetRequestIdLayer::new(header.clone(), RandomRequestId(Arc::clone(entropy))))
            .layer(PropagateRequestIdLayer::new(header))
            .layer(
                TraceLayer::new_for_http()
                    .make_span_with(span)
                    .on_request(())
                    .on_response(answered)
                    .on_failure(()),
            )
            .layer(cors())
            .map_response(keep_out_of_caches)
            .layer(from_fn_with_state(parameters, name_ignored))
            .layer(CatchPanicLayer::custom(|_: Box<dyn Any + Send>| error::panicked())),
    )
}

/// Answers hold keys, tokens and what is true only now: no cache between, and no browser's, is to keep one.
fn keep_out_of_caches<B>(mut response: Response<B>) -> Response<B> {
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AnyOrigin)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
        ])
        .allow_headers(ALLOWED_HEADERS.map(HeaderName::from_static))
        .expose_headers(EXPOSED_HEADERS.map(HeaderName::from_static))
}

fn answered<B>(response: &Response<B>, elapsed: Duration, _: &tracing::Span) {
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(status = response.status().as_u16(), elapsed_ms, "answered");
}

/// Gives every request that comes without one an id, so that an answer and a line of the log can be matched.
#[derive(Debug, Clone)]
struct RandomRequestId(Arc<dyn Entropy>);

impl MakeRequestId for RandomRequestId {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        let mut bytes = [0; 16];
        self.0.fill(&mut bytes);
        let id = uuid::Builder::from_random_bytes(bytes).into_uuid().to_string();
        HeaderValue::try_from(id).ok().map(RequestId::new)
    }
}
