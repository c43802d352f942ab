//! How many requests were answered, how, and how fast: counted around both planes.
//!
//! The number of series is bounded: routes are those of the API's document and `sandbox` for all traffic into
//! sandboxes; anything else is `other`. All are there from the start with zeros, so that no rule on them waits for the
//! first request.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{Method, StatusCode};
use sandscope_edge::DataPlane;
use sandscope_telemetry::exposition::{Exposition, Kind};
use sandscope_telemetry::histogram::Histogram;

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Statuses with a series of their own.
const STATUSES: [u16; 22] = [
    200, 201, 202, 204, 206, 400, 401, 403, 404, 405, 408, 409, 410, 413, 422, 429, 500, 501, 502, 503, 504,
    507,
];

const PLANES: [&str; 2] = ["control", "data"];

/// Requests of one route.
#[derive(Debug, Default)]
struct Tally {
    by_class: [AtomicU64; CLASSES.len()],
    took: Histogram,
}

/// Answers of one plane.
#[derive(Debug, Default)]
struct Answers {
    by_status: [AtomicU64; STATUSES.len()],
    others: AtomicU64,
}

/// Requests since the server started.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    routes: HashMap<(Method, String), Tally>,
    sandbox: Tally,
    other: Tally,
    answers: [Answers; PLANES.len()],
}

impl Requests {
    /// For these routes, as the router spells them.
    pub(crate) fn of(routes: Vec<(Method, String)>) -> Self {
        let routes = routes.into_iter().map(|route| (route, Tally::default())).collect();
        Self { routes, ..Self::default() }
    }

    fn count(&self, route: Option<(Method, String)>, status: StatusCode, is_data: bool, took: Duration) {
        let tally = match route {
            _ if is_data => &self.sandbox,
            Some(route) => self.routes.get(&route).unwrap_or(&self.other),
            None => &self.other,
        };
        tally.took.observe(took);
        let status = status.as_u16();
        // A status has three digits, so the class is there.
        if let Some(count) = tally.by_class.get(usize::from(status / 100).wrapping_sub(1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let [control, data] = &self.answers;
        let answers = if is_data { data } else { control };
        let found = STATUSES.iter().zip(&answers.by_status).find(|(one, _)| **one == status);
        found.map_or(&answers.others, |(_, count)| count).fetch_add(1, Ordering::Relaxed);
    }

    /// The families, in an order that does not change.
    #[expect(clippy::cast_precision_loss, reason = "what is counted here stays far below 2^52")]
    pub(crate) fn families(&self, text: &mut Exposition) {
        let mut routes: Vec<(&str, &str, &Tally)> = self
            .routes
            .iter()
            .map(|((method, path), tally)| (method.as_str(), path.as_str(), tally))
            .chain([("any", "sandbox", &self.sandbox), ("any", "other", &self.other)])
            .collect();
        routes.sort_unstable_by_key(|(method, path, _)| (*path, *method));
        let float = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        text.family(
            "sandscope_requests_total",
            Kind::Counter,
            "Requests answered, by route and class of status.",
        );
        for (method, route, tally) in &routes {
            for (class, count) in CLASSES.iter().zip(&tally.by_class) {
                text.sample(&[("method", method), ("route", route), ("status", class)], float(count));
            }
        }
        text.family("sandscope_responses_total", Kind::Counter, "Answers, by plane and status.");
        for (plane, answers) in PLANES.iter().zip(&self.answers) {
            for (status, count) in STATUSES.iter().zip(&answers.by_status) {
                text.sample(&[("plane", plane), ("status", &status.to_string())], float(count));
            }
            text.sample(&[("plane", plane), ("status", "other")], float(&answers.others));
        }
        text.family(
            "sandscope_request_duration_seconds",
            Kind::Histogram,
            "Time until the head of the answer, by route.",
        );
        for (method, route, tally) in &routes {
            text.histogram(&[("method", method), ("route", route)], &tally.took);
        }
    }
}

/// Counts a request once its answer begins.
pub(crate) async fn counted(State(requests): State<Arc<Requests>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = path.map(|path| (request.method().clone(), path));
    let answer = next.run(request).await;
    let is_data = answer.extensions().get::<DataPlane>().is_some();
    requests.count(route, answer.status(), is_data, begun.elapsed());
    answer
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn routes_are_counted_by_their_pattern_and_nothing_else_makes_a_series() {
        let known = vec![(Method::GET, "/things/{id}".to_owned()), (Method::GET, "/idle".to_owned())];
        let requests = Arc::new(Requests::of(known));
        let router = Router::new()
            .route("/things/{id}", get(|| async { StatusCode::NOT_FOUND }))
            .route(
                "/sandbox",
                get(|| async move {
                    let mut answer = Response::new(Body::empty());
                    *answer.status_mut() = StatusCode::BAD_GATEWAY;
                    answer.extensions_mut().insert(DataPlane);
                    answer
                }),
            )
            .layer(from_fn_with_state(Arc::clone(&requests), counted));
        let before = series(&requests);
        for path in ["/things/1", "/things/2", "/sandbox", "/nothing", "/nothing/else"] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap();
        }
        let mut text = Exposition::default();
        requests.families(&mut text);
        let text = text.finish();
        for line in [
            r#"sandscope_requests_total{method="GET",route="/things/{id}",status="4xx"} 2"#,
            r#"sandscope_requests_total{method="GET",route="/idle",status="2xx"} 0"#,
            r#"sandscope_requests_total{method="any",route="sandbox",status="5xx"} 1"#,
            r#"sandscope_requests_total{method="any",route="other",status="4xx"} 2"#,
            r#"sandscope_responses_total{plane="control",status="404"} 4"#,
            r#"sandscope_responses_total{plane="data",status="502"} 1"#,
            r#"sandscope_responses_total{plane="data",status="507"} 0"#,
            r#"sandscope_request_duration_seconds_count{method="GET",route="/things/{id}"} 2"#,
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line} in {text}");
        }
        assert_eq!(series(&requests), before, "requests make no series");
    }

    fn series(requests: &Requests) -> Vec<String> {
        let mut text = Exposition::default();
        requests.families(&mut text);
        let text = text.finish();
        text.lines().filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series.to_owned()).collect()
    }
}
