//! `/files`: contents of files, in and out, piece by piece. Memory does not grow with a file's size.
//!
//! Whatever is at a path belongs to the sandbox: it may be a FIFO, a device, a link. Files are opened without
//! waiting and only regular ones are read or written.

mod download;
mod metadata;
mod multipart;
mod upload;

use std::io::{self, ErrorKind};

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use sandscope_agent_protocol::ConnectError;
use sandscope_agent_protocol::signature::Operation;

use crate::auth;
use crate::body::{self, Answer, Refusal};
use crate::paths;
use crate::state::Settings;
use crate::user::User;

pub(crate) use metadata::read as read_metadata;

/// The query of `/files`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FileQuery {
    pub(crate) path: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) signature: Option<String>,
    pub(crate) signature_expiration: Option<String>,
}

impl FileQuery {
    pub(crate) fn parse(query: &str) -> Self {
        let mut parsed = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let field = match name {
                "path" => &mut parsed.path,
                "username" => &mut parsed.username,
                "signature" => &mut parsed.signature,
                "signature_expiration" => &mut parsed.signature_expiration,
                _ => continue,
            };
            let spaced = value.replace('+', " ");
            *field = Some(percent_decode_str(&spaced).decode_utf8_lossy().into_owned());
        }
        parsed
    }
}

/// Answers a request to `/files`.
pub(crate) async fn answer(settings: &Settings, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let operation = match *request.method() {
        Method::GET | Method::HEAD => Operation::Read,
        Method::POST => Operation::Write,
        _ => return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")),
    };
    let query = FileQuery::parse(request.uri().query().unwrap_or_default());
    if let Err(refusal) = auth::check_file(settings, request.headers(), &query, operation) {
        body::discard(&mut request.into_body(), upload::REFUSED_LIMIT).await;
        return Err(refusal);
    }
    let user = settings.user(query.username.as_deref()).map_err(of_connect)?;
    match operation {
        Operation::Read => {
            let path = resolve(settings, &user, query.path.as_deref().unwrap_or_default())?;
            download::answer(path, request).await
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
        | ErrorKind::AlreadyExists => StatusCode::BAD_REQUEST,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StatusCode::FORBIDDEN,
        // A FIFO or a device without anybody at its other end.
        _ if error.raw_os_error() == Some(libc::ENXIO) => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Refusal::new(status, format!("{what} '{path}': {error}"))
}

/// Runs work that may block on the pool.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let result = tokio::task::spawn_blocking(work).await;
    result.map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the work was given up"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_as_clients_write_them() {
        let query =
            FileQuery::parse("path=%2Fhome%2Fuser%2Fa+b%2B.txt&username=root&signature=v1_%2F%2B&x=1");
        assert_eq!(query.path.as_deref(), Some("/home/user/a b+.txt"));
        assert_eq!(query.username.as_deref(), Some("root"));
        assert_eq!(query.signature.as_deref(), Some("v1_/+"));
        assert_eq!(query.signature_expiration, None);
        assert_eq!(FileQuery::parse(""), FileQuery::default());
    }
}
