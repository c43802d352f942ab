use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, Version, header};

/// Largest head of a request that is served, in bytes: request target, names and values together.
pub(crate) const MAX_HEAD_BYTES: usize = 32 * 1024;

/// Largest head that is read at all: room to refuse the merely large ones politely.
pub(crate) const MAX_READ_BYTES: usize = 128 * 1024;

/// Most header lines that are served, and that are read at all.
pub(crate) const MAX_HEADERS: usize = 100;
pub(crate) const MAX_READ_HEADERS: usize = 1024;

/// Refuses a request whose head is too large, in the API's words.
pub(crate) async fn refuse_large(request: Request, next: Next) -> Response {
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
