use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};

/// Largest head of a request that is served, in bytes: request target, names and values together.
pub(crate) const MAX_HEAD_BYTES: usize = 32 * 1024;

/// Largest head that is read at all: room to refuse the merely large ones politely.
pub(crate) const MAX_READ_BYTES: usize = 128 * 1024;

/// Most header lines that are served, and that are read at all.
pub(crate) const MAX_HEADERS: usize = 100;
pub(crate) const MAX_READ_HEADERS: usize = 1024;

/// What a body may be coded in on its way: hyper undoes nothing else, and whoever reads it would take the coded bytes
/// for the body.
const CODING: &str = "chunked";

/// Refuses a request whose head is too large, or whose body is coded in a way that nobody here undoes, in the API's
/// words.
pub(crate) async fn refuse(request: Request, next: Next) -> Response {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let headers: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let too_large = |what: &str| format!("The request's {what} is larger than {MAX_HEAD_BYTES} bytes");
    let (status, message) = if target > MAX_HEAD_BYTES {
        (StatusCode::URI_TOO_LONG, too_large("address"))
    } else if target + headers > MAX_HEAD_BYTES {
        (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, too_large("head"))
    } else if request.headers().len() > MAX_HEADERS {
        let message = format!("The request has more than {MAX_HEADERS} headers");
        (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message)
    } else if is_coded(request.headers()) {
        let message = "The request's body is in a transfer coding other than chunked; use Content-Encoding";
        (StatusCode::NOT_IMPLEMENTED, message.to_owned())
    } else {
        return next.run(request).await;
    };
    let body = serde_json::json!({ "code": status.as_u16(), "message": message }).to_string();
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    if request.version() <= Version::HTTP_11 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn is_coded(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut codings = lines.flat_map(|line| line.to_str().unwrap_or_default().split(','));
    codings.any(|coding| !coding.trim().eq_ignore_ascii_case(CODING))
}
