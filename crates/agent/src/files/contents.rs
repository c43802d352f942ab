//! The contents of a file as an answer's body, read on the pool one chunk ahead of the network.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::{Body, Frame, SizeHint};
use sandscope_agent_protocol::content::Coding;
use tokio::sync::oneshot;

use crate::permits::Permit;
use crate::pool;

/// Read at a time, at first.
const CHUNK_BYTES: usize = 128 * 1024;

/// Read at a time in the end: every chunk costs two changes of threads, which on a busy machine each wait their turn.
const MAX_CHUNK_BYTES: usize = 512 * 1024;

/// Downloads at a time that get such chunks, one of them in advance.
const MAX_LARGE: usize = 16;

/// Read at a time by each of the others.
const SMALL_CHUNK_BYTES: usize = 16 * 1024;

/// Downloads compressed at a time: each holds a third of a megabyte. Others are sent as they are.
const MAX_COMPRESSED: usize = 8;

/// How much of a file is compressed to see whether that is worth it.
const SAMPLE_BYTES: usize = SMALL_CHUNK_BYTES;

static LARGE: AtomicUsize = AtomicUsize::new(0);
static COMPRESSED: AtomicUsize = AtomicUsize::new(0);

/// Where the bytes come from.
pub(super) struct Source {
    file: File,
    /// All bytes to be sent, where that is known beforehand.
    length: Option<u64>,
    /// Bytes of the file that are still to be read; `None` if only its end tells.
    left: Option<u64>,
    /// Read already.
    first: Option<Bytes>,
    chunk: usize,
    spare: Spare,
    large: Option<Permit>,
    gzip: Option<(GzEncoder<Vec<u8>>, Permit)>,
}

impl Source {
    /// `length` bytes from `start`, or all there are. Compressed only if that makes them smaller and not too many others
    /// are. The first of them are read at once: what fails then can still be said in words.
    pub(super) fn open(mut file: File, start: u64, length: Option<u64>, coding: Coding) -> io::Result<Self> {
        file.seek(SeekFrom::Start(start))?;
        let large = Permit::take(&LARGE, MAX_LARGE);
        let chunk = if large.is_some() { CHUNK_BYTES } else { SMALL_CHUNK_BYTES };
        let spare = Spare::default();
        let mut source = Self { file, length, left: length, first: None, chunk, spare, large, gzip: None };
        let first = source.read()?;
        source.gzip = match coding {
            Coding::Gzip if worth_it(&first)? => Permit::take(&COMPRESSED, MAX_COMPRESSED)
                .map(|place| (GzEncoder::new(Vec::new(), Compression::fast()), place)),
            _ => None,
        };
        source.first = Some(first);
        Ok(source)
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.gzip.is_some()
    }

    /// Some of the file's bytes; none at the end.
    fn read(&mut self) -> io::Result<Bytes> {
        let left = self.left.map_or(self.chunk, |left| usize::try_from(left).unwrap_or(self.chunk));
        let wanted = left.min(self.chunk);
        let bytes = self.spare.read(&mut self.file, wanted)?;
        if let Some(left) = &mut self.left {
            if bytes.len() < wanted {
                // More is promised already, but for the first ones: breaking off is the only honest way to say it.
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter meanwhile"));
            }
            *left -= bytes.len() as u64;
        }
        if self.large.is_some() {
            self.chunk = (2 * self.chunk).min(MAX_CHUNK_BYTES);
        }
        Ok(bytes)
    }

    /// Some of the bytes to be sent; none at the end.
    fn next(&mut self) -> io::Result<Bytes> {
        loop {
            let bytes = match self.first.take() {
                Some(bytes) => bytes,
                None => self.read()?,
            };
            if bytes.is_empty() {
                // It may grow after this: what is read then would come behind the end of what was compressed.
                self.left = Some(0);
                return match self.gzip.take() {
                    Some((encoder, _)) => Ok(encoder.finish()?.into()),
                    None => Ok(Bytes::new()),
                };
            }
            let Some((encoder, _)) = &mut self.gzip else { return Ok(bytes) };
            encoder.write_all(&bytes)?;
            // Much of the same thing becomes next to nothing: then there is nothing to send yet.
            if !encoder.get_ref().is_empty() {
                return Ok(std::mem::take(encoder.get_mut()).into());
            }
        }
    }
}

/// Whether the beginning of the file becomes clearly smaller; a small file is always worth it.
fn worth_it(beginning: &[u8]) -> io::Result<bool> {
    let Some(sample) = beginning.get(..SAMPLE_BYTES) else { return Ok(true) };
    let mut encoder = GzEncoder::new(Vec::with_capacity(sample.len()), Compression::fast());
    encoder.write_all(sample)?;
    Ok(encoder.finish()?.len() < sample.len() / 8 * 7)
}

/// Buffers that the network is done with. Fresh ones cost more than reading into them: the kernel clears every page.
#[derive(Default, Clone)]
struct Spare(Arc<Mutex<Vec<Vec<u8>>>>);

impl Spare {
    /// `wanted` bytes or all that are left, in a buffer of that size or one used before. A file that the kernel makes up
    /// comes a page at a time.
    fn read(&self, file: &mut File, wanted: usize) -> io::Result<Bytes> {
        let spare = self.lock().pop();
        let mut buffer = spare.filter(|buffer| buffer.len() >= wanted).unwrap_or_else(|| vec![0; wanted]);
        let into = buffer.get_mut(..wanted).unwrap_or_default();
        let mut count = 0;
        while let Some(rest) = into.get_mut(count..).filter(|rest| !rest.is_empty()) {
            match file.read(rest) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Bytes::from_owner(Lent { buffer, count, home: self.clone() }))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer on its way to the network; it comes back when that is done with it.
struct Lent {
    buffer: Vec<u8>,
    count: usize,
    home: Spare,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.count).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.lock().push(std::mem::take(&mut self.buffer));
    }
}

type Read = io::Result<(Source, Bytes)>;

/// The body.
pub(super) struct Contents {
    /// Known unless compressed, or the file's length is not.
    left: Option<u64>,
    state: State,
}

enum State {
    Rests(Box<Source>),
    Reads(oneshot::Receiver<Read>),
    Ended,
}

impl Contents {
    pub(super) fn new(source: Source) -> Self {
        let left = source.length.filter(|_| !source.is_compressed());
        Self { left, state: State::Rests(Box::new(source)) }
    }
}

fn start(mut source: Source) -> State {
    State::Reads(pool::submit(move || source.next().map(|bytes| (source, bytes))))
}

impl Body for Contents {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Rests(source) => self.state = start(*source),
                State::Reads(mut result) => {
                    let Poll::Ready(result) = Pin::new(&mut result).poll(context) else {
                        self.state = State::Reads(result);
                        return Poll::Pending;
                    };
                    let (source, bytes) = match result.map_err(io::Error::other).flatten() {
                        Ok(read) => read,
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    };
                    if bytes.is_empty() {
                        return Poll::Ready(None);
                    }
                    if let Some(left) = &mut self.left {
                        *left = left.saturating_sub(bytes.len() as u64);
                    }
                    if self.left != Some(0) {
                        let ahead = source.large.is_some();
                        self.state = if ahead { start(source) } else { State::Rests(Box::new(source)) };
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that has lost bytes since its length was looked at.
    fn shortened(bytes: usize, length: u64) -> io::Result<Source> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![b'x'; bytes]).unwrap();
        Source::open(file, 0, Some(length), Coding::Identity)
    }

    /// What the kernel makes up may be longer when it is read again.
    #[test]
    fn nothing_comes_after_the_end() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![b'x'; 2 * SAMPLE_BYTES]).unwrap();
        for coding in [Coding::Gzip, Coding::Identity] {
            let mut source = Source::open(file.try_clone().unwrap(), 0, None, coding).unwrap();
            while !source.next().unwrap().is_empty() && source.left.is_none() {}
            file.write_all(b"more").unwrap();
            assert_eq!(source.next().unwrap(), Bytes::new(), "{coding:?}");
        }
    }

    #[test]
    fn a_file_that_became_shorter_is_never_a_short_answer() {
        // Nothing is promised yet where the first bytes are missing.
        for (bytes, length) in [(0, 1), (50, 100), (SMALL_CHUNK_BYTES, 2 + SMALL_CHUNK_BYTES as u64)] {
            let error = shortened(bytes, length).map(drop).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{bytes} of {length}");
        }
        let mut source = shortened(CHUNK_BYTES + 5, 3 * CHUNK_BYTES as u64).unwrap();
        assert_eq!(source.next().unwrap().len(), CHUNK_BYTES);
        assert_eq!(source.next().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
