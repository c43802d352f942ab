//! `/files`: contents of files, in and out, piece by piece. Memory does not grow with a file's size.
//!
//! Whatever is at a path belongs to the sandbox: it may be a FIFO, a device, a link. Files are opened without
//! waiting and only regular ones are read or written.

mod compose;
mod contents;
mod download;
mod refusal;
mod request;
mod share;
mod sink;
mod target;
mod upload;

use http::{Method, Request, StatusCode};
use sandscope_agent_protocol::file_query::FileQuery;
use sandscope_agent_protocol::signature::Operation;

use crate::auth;
use crate::body::{Answer, Refusal};
use crate::request_body::RequestBody;
use crate::settings::Settings;

pub(crate) use compose::answer as compose;
use refusal::of_connect;
use request::resolve;

/// Answers a request to `/files`.
pub(crate) async fn answer(settings: &Settings, request: Request<RequestBody>) -> Result<Answer, Refusal> {
    let operation = match *request.method() {
        Method::GET | Method::HEAD => Operation::Read,
        Method::POST => Operation::Write,
        _ => return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")),
    };
    let query = FileQuery::parse(request.uri().query().unwrap_or_default());
    auth::check_file(settings, request.headers(), &query, operation)?;
    let user = settings.user(query.username.as_deref()).map_err(of_connect)?;
    match operation {
        Operation::Read => {
            let path = resolve(settings, &user, query.path.as_deref().unwrap_or_default())?;
            download::answer(path, &request).await
        }
        Operation::Write => upload::answer(settings, &user, query.path, request).await,
    }
}
