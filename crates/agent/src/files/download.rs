use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, LAST_MODIFIED, VARY,
};
use http::{HeaderValue, Request, StatusCode};
use rustix::fs::{Mode, OFlags};
use sandscope_agent_protocol::content::{Accepted, Coding, Extent, Precondition, Version};

use super::contents::{Contents, Source};
use super::refusal::{blocking, of_io};
use crate::body::{self, Answer, Body, Refusal};
use crate::request_body::RequestBody;

pub(super) async fn answer(path: String, request: &Request<RequestBody>) -> Result<Answer, Refusal> {
    let coding = coding(request)?;
    let opened = path.clone();
    let (file, size, version) =
        blocking(move || open(&opened)).await?.map_err(|error| of_io("cannot read", &path, &error))?;
    let headers = request.headers();
    match version.judge(headers) {
        Precondition::Send => {}
        Precondition::NotModified => return Ok(described(StatusCode::NOT_MODIFIED, &version)),
        Precondition::Failed => {
            let message = format!("path '{path}' has changed");
            return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, message));
        }
    }
    let extent = if version.range_counts(headers) { Extent::parse(headers, size) } else { Extent::Whole };
    let (status, start, length) = match extent {
        Extent::Whole => (StatusCode::OK, 0, size),
        Extent::Part { first, last } => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Extent::Outside => {
            let message = format!("the range is outside of the file's {size} bytes");
            let mut answer = Answer::from(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, message));
            insert(&mut answer, CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(answer);
        }
    };
    let source = blocking(move || Source::open(file, start, length, coding)).await?;
    let source = source.map_err(|error| of_io("cannot read", &path, &error))?;
    let mut answer = described(status, &version);
    if source.is_compressed() {
        answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        // The same contents, not the same bytes.
        insert(&mut answer, ETAG, &format!("W/{}", version.etag));
    }
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status == StatusCode::PARTIAL_CONTENT {
        insert(&mut answer, CONTENT_RANGE, &format!("bytes {start}-{}/{size}", start + length - 1));
    }
    // Of a HEAD request hyper sends the length and leaves the body out.
    *answer.body_mut() = Body::pieces(Contents::new(source));
    Ok(answer)
}

/// Parts and conditions are about the bytes of the file: they are answered uncompressed.
fn coding(request: &Request<RequestBody>) -> Result<Coding, Refusal> {
    let headers = request.headers();
    let accepted = Accepted::parse(headers);
    let plain = headers.contains_key(http::header::RANGE) || Version::is_conditional(headers);
    let coding = if plain { accepted.identity().then_some(Coding::Identity) } else { accepted.choose() };
    coding.ok_or_else(|| {
        let message = if plain {
            "a part of a file, or one under a condition, can only be sent uncompressed"
        } else {
            "none of the accepted encodings is supported; supported: gzip, identity"
        };
        Refusal::new(StatusCode::NOT_ACCEPTABLE, message)
    })
}

fn described(status: StatusCode, version: &Version) -> Answer {
    let mut answer = body::status(status);
    insert(&mut answer, ETAG, &version.etag);
    insert(&mut answer, LAST_MODIFIED, &version.last_modified());
    answer.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    answer
}

fn insert(answer: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// The file, its size and version. It must be a regular one; nothing is waited for.
fn open(path: &str) -> io::Result<(File, u64, Version)> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let nanoseconds = u32::try_from(found.mtime_nsec()).unwrap_or_default();
    let version = Version::new(found.ino(), found.len(), found.mtime(), nanoseconds);
    Ok((file, found.len(), version))
}
