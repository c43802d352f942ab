use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use rustix::fs::{Gid, Mode, OFlags, Uid};
use sandscope_agent_protocol::rest::WriteInfo;

use super::multipart::{Event, Multipart};
use super::{blocking, metadata, of_io, resolve};
use crate::body::{self, Answer, Refusal};
use crate::filesystem::make_parents;
use crate::paths;
use crate::state::Settings;
use crate::user::User;

/// Files in one request.
const MAX_FILES: usize = 10_000;

/// How long an upload may be silent.
const SILENCE_LIMIT: Duration = Duration::from_secs(300);

/// How long the rest of a refused upload is still taken in.
pub(super) const REFUSED_LIMIT: Duration = Duration::from_secs(20);

pub(super) async fn answer(
    settings: &Settings,
    user: &User,
    path: Option<String>,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let headers = request.headers();
    if let Some(encoding) = headers.get(CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        let message = "compressed uploads are not supported by this agent; send the file as it is";
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, message));
    }
    let metadata = metadata::of_headers(headers);
    let content_type =
        headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let path = path.filter(|path| !path.is_empty());
    let mut upload = Upload { settings, user, path, metadata, received: 0, file: None, written: Vec::new() };
    let mut contents = request.into_body();
    let stored = match essence.as_str() {
        "multipart/form-data" => upload.parts(&content_type, &mut contents).await,
        "application/octet-stream" => upload.whole(&mut contents).await,
        _ => {
            let message = "the content type must be multipart/form-data or application/octet-stream";
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
        }
    };
    if let Err(refusal) = stored {
        body::discard(&mut contents, REFUSED_LIMIT).await;
        return Err(refusal);
    }
    Ok(body::json(StatusCode::OK, &upload.written))
}

struct Upload<'a> {
    settings: &'a Settings,
    user: &'a User,
    /// The query's path: wins over what a part says.
    path: Option<String>,
    metadata: BTreeMap<String, String>,
    /// Bytes of contents so far, for the message when the disk is full.
    received: u64,
    file: Option<Target>,
    written: Vec<WriteInfo>,
}

struct Target {
    path: String,
    file: File,
}

impl Upload<'_> {
    async fn whole(&mut self, body: &mut Incoming) -> Result<(), Refusal> {
        let Some(path) = self.path.clone() else {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "the path query parameter is required"));
        };
        self.begin(&path).await?;
        while let Some(bytes) = next(body).await? {
            self.write(bytes).await?;
        }
        self.end();
        Ok(())
    }

    async fn parts(&mut self, content_type: &str, body: &mut Incoming) -> Result<(), Refusal> {
        let bad = |error: super::multipart::MultipartError| {
            Refusal::new(StatusCode::BAD_REQUEST, format!("error parsing multipart form: {error}"))
        };
        let mut multipart = Multipart::new(content_type).map_err(bad)?;
        while let Some(bytes) = next(body).await? {
            multipart.push(&bytes);
            while let Some(event) = multipart.next().map_err(bad)? {
                match event {
                    Event::Part { name, filename } if name.as_deref() == Some("file") => {
                        let Some(path) = self.path.clone().or(filename).filter(|path| !path.is_empty())
                        else {
                            let message = "a part has no filename, and there is no path query parameter";
                            return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
                        };
                        self.begin(&path).await?;
                    }
                    Event::Data(bytes) => self.write(bytes).await?,
                    Event::PartEnd => self.end(),
                    // Parts with other names are skipped.
                    Event::Part { .. } | Event::End => {}
                }
            }
        }
        multipart.finish().map_err(bad)
    }

    async fn begin(&mut self, path: &str) -> Result<(), Refusal> {
        let path = resolve(self.settings, self.user, path)?;
        if self.written.iter().any(|written| written.path == path) {
            let message = format!("you cannot upload multiple files to the same path '{path}'");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
        }
        if self.written.len() >= MAX_FILES {
            let message = format!("no more than {MAX_FILES} files can be written in one request");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
        }
        let (opened, owner, metadata) = (path.clone(), (self.user.uid, self.user.gid), self.metadata.clone());
        let file = blocking(move || open(&opened, owner, &metadata)).await?;
        let file = file.map_err(|error| match error.kind() {
            // Not the path's fault: the directories above it are made, so something in between is missing.
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => self.full(),
            _ => of_io("cannot write", &path, &error),
        })?;
        self.file = Some(Target { path, file });
        Ok(())
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), Refusal> {
        let Some(Target { path, mut file }) = self.file.take() else {
            return Ok(());
        };
        self.received += bytes.len() as u64;
        let (file, result) = blocking(move || {
            let result = file.write_all(&bytes);
            (file, result)
        })
        .await?;
        if let Err(error) = result {
            return Err(match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => self.full(),
                _ => of_io("cannot write", &path, &error),
            });
        }
        self.file = Some(Target { path, file });
        Ok(())
    }

    fn end(&mut self) {
        if let Some(Target { path, .. }) = self.file.take() {
            let name = paths::name(&path).to_owned();
            let metadata = self.metadata.clone();
            self.written.push(WriteInfo { path, name, kind: "file".to_owned(), metadata });
        }
    }

    fn full(&self) -> Refusal {
        let message = format!("attempted to write {} bytes: not enough disk space available", self.received);
        Refusal::new(StatusCode::INSUFFICIENT_STORAGE, message)
    }
}

/// The next piece of the body; `None` at its end.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = tokio::time::timeout(SILENCE_LIMIT, body.frame())
            .await
            .map_err(|_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the upload stopped"))?;
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
            Some(Err(_)) => return Err(Refusal::new(StatusCode::BAD_REQUEST, "the upload broke off")),
        }
    }
}

/// Opens a file for writing from the start; makes it, and the directories above it, where they are missing.
fn open(path: &str, owner: (u32, u32), metadata: &BTreeMap<String, String>) -> io::Result<File> {
    make_parents(path, owner)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::from_raw_mode(0o644))?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    file.set_len(0)?;
    rustix::fs::fchown(&file, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))?;
    metadata::write(&file, metadata)?;
    Ok(file)
}
