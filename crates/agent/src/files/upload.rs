use std::io::{self, ErrorKind};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use sandscope_agent_protocol::content::Coding;
use sandscope_agent_protocol::multipart::{Event, Multipart, MultipartError};
use sandscope_agent_protocol::rest::WriteInfo;

use super::refusal::{full, is_full, of_io, writing};
use super::request::{MAX_FILES, resolve};
use super::sink::Sink;
use super::target::Target;
use crate::body::{self, Answer, Refusal};
use crate::metadata::{self, Metadata};
use crate::paths;
use crate::request_body::RequestBody;
use crate::settings::Settings;
use crate::user::User;

/// How long an upload may be silent.
const SILENCE_LIMIT: Duration = Duration::from_secs(300);

pub(super) async fn answer(
    settings: &Settings,
    user: &User,
    path: Option<String>,
    request: Request<RequestBody>,
) -> Result<Answer, Refusal> {
    let (head, mut contents) = request.into_parts();
    let written = store(settings, user, path, &head.headers, &mut contents).await?;
    Ok(body::json(StatusCode::OK, &written))
}

async fn store(
    settings: &Settings,
    user: &User,
    path: Option<String>,
    headers: &HeaderMap,
    contents: &mut RequestBody,
) -> Result<Vec<WriteInfo>, Refusal> {
    let coding = coding(headers)?;
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut upload = Upload {
        settings,
        user,
        path: path.filter(|path| !path.is_empty()),
        metadata: metadata::of_headers(headers)?,
        coding,
        announced: announced.filter(|_| coding == Coding::Identity).unwrap_or(0),
        written_bytes: 0,
        file: None,
        written: Vec::new(),
    };
    let stored = match essence.as_str() {
        "multipart/form-data" if coding == Coding::Gzip => {
            let message = "a compressed form is not supported; send the file as application/octet-stream";
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
        }
        "multipart/form-data" => upload.parts(content_type, contents).await,
        "application/octet-stream" => upload.whole(contents).await,
        _ => {
            let message = "the content type must be multipart/form-data or application/octet-stream";
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
        }
    };
    if let Some(file) = upload.file.take() {
        // Only what failed is left here.
        writing(move || drop(file)).await?;
    }
    stored.map(|()| upload.written)
}

fn coding(headers: &HeaderMap) -> Result<Coding, Refusal> {
    let Some(encoding) = headers.get(CONTENT_ENCODING) else { return Ok(Coding::Identity) };
    match encoding.as_bytes().trim_ascii().to_ascii_lowercase().as_slice() {
        b"" | b"identity" => Ok(Coding::Identity),
        b"gzip" | b"x-gzip" => Ok(Coding::Gzip),
        _ => {
            let message = "the content encoding must be gzip or identity";
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
        }
    }
}

struct Upload<'a> {
    settings: &'a Settings,
    user: &'a User,
    /// The query's path: wins over what a part says.
    path: Option<String>,
    metadata: Metadata,
    coding: Coding,
    /// Bytes the request says that it has; 0 where it does not say, or says it of other bytes than are written.
    announced: u64,
    /// Bytes of the files that are complete.
    written_bytes: u64,
    /// The file that is being written.
    file: Option<Target>,
    written: Vec<WriteInfo>,
}

impl Upload<'_> {
    async fn whole(&mut self, body: &mut RequestBody) -> Result<(), Refusal> {
        let Some(path) = self.path.clone() else {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "the path query parameter is required"));
        };
        self.begin(&path).await?;
        while let Some(bytes) = next(body).await? {
            self.write(bytes).await?;
        }
        self.end().await
    }

    async fn parts(&mut self, content_type: &str, body: &mut RequestBody) -> Result<(), Refusal> {
        let bad = |error: MultipartError| {
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
                    Event::PartEnd => self.end().await?,
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
        let coding = self.coding;
        match writing(move || Sink::open(&opened, owner, &metadata, coding)).await? {
            Ok(sink) => {
                self.file = Some(Target::new(path, sink));
                Ok(())
            }
            // Not the path's fault: there is no room for it.
            Err(error) if is_full(&error) => Err(full(self.announced.max(self.written_bytes))),
            Err(error) => Err(of_io("cannot write", &path, &error)),
        }
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), Refusal> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let Err(error) = file.write(bytes).await else { return Ok(()) };
        Err(self.failed(&error))
    }

    async fn end(&mut self) -> Result<(), Refusal> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let path = file.path.clone();
        match file.finish().await {
            Ok(bytes) => {
                self.written_bytes += bytes;
                let name = paths::name(&path).to_owned();
                let metadata = self.metadata.clone();
                self.written.push(WriteInfo { path, name, kind: "file".to_owned(), metadata });
                Ok(())
            }
            Err((file, error)) => {
                self.file = Some(file);
                Err(self.failed(&error))
            }
        }
    }

    fn failed(&self, error: &io::Error) -> Refusal {
        let Some(file) = &self.file else { return of_io("cannot write", "", error) };
        match error.kind() {
            _ if is_full(error) => full(self.announced.max(self.written_bytes + file.bytes())),
            // What a decompressor says of bytes that are none of its own.
            ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof
                if self.coding == Coding::Gzip =>
            {
                Refusal::new(StatusCode::BAD_REQUEST, format!("the body is not valid gzip: {error}"))
            }
            _ => of_io("cannot write", &file.path, error),
        }
    }
}

/// The next piece of the body; `None` at its end.
async fn next(body: &mut RequestBody) -> Result<Option<Bytes>, Refusal> {
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
