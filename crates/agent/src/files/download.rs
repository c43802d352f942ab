use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, LAST_MODIFIED, VARY,
};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use sandscope_agent_protocol::content::{Accepted, Coding, Extent, Precondition, Version};
use sandscope_agent_protocol::presentation::Presentation;

use super::contents::{Contents, Source};
use super::refusal::{blocking, of_io};
use crate::body::{self, Answer, Body, Refusal};
use crate::file_systems::Kind;
use crate::paths;
use crate::regular_file;
use crate::request_body::RequestBody;

/// What is to be sent.
struct Opened {
    file: File,
    /// `None` of a file whose length and version only its contents tell: the kernel makes them up while they are read.
    known: Option<(u64, Version)>,
}

pub(super) async fn answer(path: String, request: &Request<RequestBody>) -> Result<Answer, Refusal> {
    let coding = coding(request)?;
    let opened = path.clone();
    let opened =
        blocking(move || open(&opened)).await?.map_err(|error| of_io("cannot read", &path, &error))?;
    match opened.known {
        Some((size, version)) => known(&path, opened.file, size, &version, coding, request.headers()).await,
        None => unknown(&path, opened.file, coding, request.headers()).await,
    }
}

/// A file with a length and a version.
async fn known(
    path: &str,
    file: File,
    size: u64,
    version: &Version,
    coding: Coding,
    headers: &HeaderMap,
) -> Result<Answer, Refusal> {
    match version.judge(headers) {
        Precondition::Send => {}
        Precondition::NotModified => return Ok(described(StatusCode::NOT_MODIFIED, version)),
        Precondition::Failed => return Err(changed(path)),
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
    let source = source(path, file, start, Some(length), coding).await?;
    let mut answer = described(status, version);
    if source.is_compressed() {
        // The same contents, not the same bytes.
        insert(&mut answer, ETAG, &format!("W/{}", version.etag));
    }
    answer.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status == StatusCode::PARTIAL_CONTENT {
        insert(&mut answer, CONTENT_RANGE, &format!("bytes {start}-{}/{size}", start + length - 1));
    }
    Ok(filled(answer, path, source))
}

/// A file that is sent to its end, wherever that is: it has no parts, and nobody can have it already.
async fn unknown(path: &str, file: File, coding: Coding, headers: &HeaderMap) -> Result<Answer, Refusal> {
    if headers.get_all(IF_MATCH).iter().any(|tags| tags != "*") {
        return Err(changed(path));
    }
    let source = source(path, file, 0, None, coding).await?;
    let mut answer = body::status(StatusCode::OK);
    answer.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    answer.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
    Ok(filled(answer, path, source))
}

async fn source(
    path: &str,
    file: File,
    start: u64,
    length: Option<u64>,
    coding: Coding,
) -> Result<Source, Refusal> {
    let source = blocking(move || Source::open(file, start, length, coding)).await?;
    source.map_err(|error| of_io("cannot read", path, &error))
}

fn changed(path: &str) -> Refusal {
    Refusal::new(StatusCode::PRECONDITION_FAILED, format!("path '{path}' has changed"))
}

/// With the contents, and what browsers are told of them.
fn filled(mut answer: Answer, path: &str, source: Source) -> Answer {
    let shown = Presentation::of(paths::name(path));
    insert(&mut answer, CONTENT_DISPOSITION, &shown.disposition);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(shown.content_type));
    if shown.sandboxed {
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    }
    if source.is_compressed() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    // Of a HEAD request hyper sends the length and leaves the body out.
    *answer.body_mut() = Body::pieces(Contents::new(source));
    answer
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

/// The file. It must be a regular one; nothing is waited for.
fn open(path: &str) -> io::Result<Opened> {
    let file = regular_file::read(path)?;
    let found = file.metadata()?;
    // Of what is made up, the kernel says no length or one that is not true; so do some programs that serve files.
    let is_made_up = Kind::of(&file)? == Kind::MadeUp
        || found.len() == 0 && file.read_at(&mut [0], 0).is_ok_and(|n| n > 0);
    let nanoseconds = u32::try_from(found.mtime_nsec()).unwrap_or_default();
    let version = || Version::new(found.ino(), found.len(), found.mtime(), nanoseconds);
    let known = (!is_made_up).then(|| (found.len(), version()));
    Ok(Opened { file, known })
}
