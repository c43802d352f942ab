//! `/files`: contents of files, in and out, piece by piece. Memory does not grow with a file's size.
//!
//! Whatever is at a path belongs to the sandbox: it may be a FIFO, a device, a link. Files are opened without
//! waiting and only regular ones are read or written.

mod compose;
mod contents;
mod download;
mod metadata;
mod sink;
mod target;
mod upload;

use std::io::{self, ErrorKind};

use http::{Method, Request, StatusCode};
use sandscope_agent_protocol::ConnectError;
use sandscope_agent_protocol::file_query::FileQuery;
use sandscope_agent_protocol::signature::Operation;

use crate::body::{Answer, Refusal};
use crate::request_body::RequestBody;
use crate::state::Settings;
use crate::user::User;
use crate::{auth, paths, pool};

pub(crate) use compose::answer as compose;
pub(crate) use metadata::read as read_metadata;

/// Files in one request.
const MAX_FILES: usize = 10_000;

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

fn resolve(settings: &Settings, user: &User, path: &str) -> Result<String, Refusal> {
    paths::resolve(path, user, settings.workdir(user)).map_err(of_connect)
}

/// The plain HTTP form of an error that calls share.
fn of_connect(error: ConnectError) -> Refusal {
    let status = StatusCode::from_u16(error.code.http_status());
    Refusal::new(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), error.message)
}

/// The refusal that tells of a failed access to `path`.
fn of_io(what: &str, path: &str, error: &io::Error) -> Refusal {
    let status = match error.kind() {
        ErrorKind::NotFound => {
            return Refusal::new(StatusCode::NOT_FOUND, format!("path '{path}' does not exist"));
        }
        ErrorKind::IsADirectory => {
            return Refusal::new(StatusCode::BAD_REQUEST, format!("path '{path}' is a directory"));
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::NotADirectory
        | ErrorKind::InvalidInput
        | ErrorKind::InvalidFilename
        | ErrorKind::AlreadyExists
        | ErrorKind::FileTooLarge => StatusCode::BAD_REQUEST,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StatusCode::FORBIDDEN,
        _ => match error.raw_os_error() {
            // A FIFO or a device without anybody at its other end; links in a circle; a program that runs.
            Some(libc::ENXIO | libc::ELOOP | libc::ETXTBSY) => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        },
    };
    Refusal::new(status, format!("{what} '{path}': {error}"))
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// The words that clients look for when the disk is full.
fn full(bytes: u64) -> Refusal {
    let message = format!("attempted to write {bytes} bytes: not enough disk space available");
    Refusal::new(StatusCode::INSUFFICIENT_STORAGE, message)
}

/// Runs work that may block on the pool.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let result = pool::run(work).await;
    result.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}
