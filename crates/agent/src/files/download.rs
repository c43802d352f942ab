use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use rustix::fs::{Mode, OFlags};
use tokio::task::JoinHandle;

use super::{blocking, of_io};
use crate::body::{self, Answer, Body, Refusal};

/// Read at a time.
const CHUNK_BYTES: usize = 128 * 1024;

pub(super) async fn answer(path: String, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let opened = path.clone();
    let (mut file, size) =
        blocking(move || open(&opened)).await?.map_err(|e| of_io("cannot read", &path, &e))?;
    let range = range(request.headers(), size)?;
    let (status, start, length) = match range {
        Some((start, end)) => (StatusCode::PARTIAL_CONTENT, start, end - start + 1),
        None => (StatusCode::OK, 0, size),
    };
    file.seek(SeekFrom::Start(start)).map_err(|error| of_io("cannot read", &path, &error))?;
    let mut answer = body::status(status);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some((start, end)) = range
        && let Ok(value) = HeaderValue::from_str(&format!("bytes {start}-{end}/{size}"))
    {
        headers.insert(CONTENT_RANGE, value);
    }
    // Of a HEAD request hyper sends the length and leaves the body out.
    *answer.body_mut() = Body::pieces(FileBody { state: State::Rests(Some(file)), left: length });
    Ok(answer)
}

fn open(path: &str) -> io::Result<(File, u64)> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok((file, found.len()))
}

/// First and last byte of a request for one range. Anything else that the header may say is answered with all of
/// the file, as the standard allows.
fn range(headers: &HeaderMap, size: u64) -> Result<Option<(u64, u64)>, Refusal> {
    let spec = || headers.get(RANGE)?.to_str().ok()?.strip_prefix("bytes=")?.trim().split_once('-');
    let Some((first, last)) = spec() else {
        return Ok(None);
    };
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.min(size.saturating_sub(1))),
        (Ok(first), Err(_)) if last.is_empty() => (first, size.saturating_sub(1)),
        (Err(_), Ok(count)) if first.is_empty() && count > 0 => {
            (size.saturating_sub(count), size.saturating_sub(1))
        }
        _ => return Ok(None),
    };
    if range.0 >= size {
        let message = format!("the range is outside of the file's {size} bytes");
        return Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, message));
    }
    Ok(Some(range))
}

struct FileBody {
    state: State,
    left: u64,
}

enum State {
    Rests(Option<File>),
    Reads(JoinHandle<io::Result<(File, Bytes)>>),
}

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            match &mut self.state {
                State::Rests(file) => {
                    let Some(file) = file.take() else {
                        return Poll::Ready(None);
                    };
                    if self.left == 0 {
                        return Poll::Ready(None);
                    }
                    let wanted = usize::try_from(self.left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
                    self.state = State::Reads(tokio::task::spawn_blocking(move || read(file, wanted)));
                }
                State::Reads(task) => {
                    let result = ready!(Pin::new(task).poll(context)).map_err(io::Error::other).flatten();
                    self.state = State::Rests(None);
                    let (file, bytes) = match result {
                        Ok(read) => read,
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    };
                    if bytes.is_empty() {
                        // The length is promised already: breaking off is the only honest way to say it.
                        let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter");
                        return Poll::Ready(Some(Err(error)));
                    }
                    self.left -= bytes.len() as u64;
                    self.state = State::Rests(Some(file));
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

fn read(mut file: File, wanted: usize) -> io::Result<(File, Bytes)> {
    let mut buffer = BytesMut::zeroed(wanted);
    let count = loop {
        match io::Read::read(&mut file, &mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => break result?,
        }
    };
    buffer.truncate(count);
    Ok((file, buffer.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let of = |value: &str, size| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, value.parse().unwrap());
            range(&headers, size).map_err(|refusal| refusal.status)
        };
        assert_eq!(of("bytes=0-3", 10), Ok(Some((0, 3))));
        assert_eq!(of("bytes=4-", 10), Ok(Some((4, 9))));
        assert_eq!(of("bytes=4-99", 10), Ok(Some((4, 9))));
        assert_eq!(of("bytes=-3", 10), Ok(Some((7, 9))));
        assert_eq!(of("bytes=-30", 10), Ok(Some((0, 9))));
        assert_eq!(of("bytes=10-", 10), Err(StatusCode::RANGE_NOT_SATISFIABLE));
        assert_eq!(of("bytes=0-", 0), Err(StatusCode::RANGE_NOT_SATISFIABLE));
        for all in ["bytes=3-1", "bytes=0-1,4-5", "lines=1-2", "bytes=-", "bytes=-0", "x"] {
            assert_eq!(of(all, 10), Ok(None), "{all}");
        }
        assert_eq!(range(&HeaderMap::new(), 10).ok(), Some(None));
    }
}
