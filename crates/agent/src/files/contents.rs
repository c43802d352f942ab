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
const SAMPLE_BYTES: usize = 32 * 1024;

static LARGE: AtomicUsize = AtomicUsize::new(0);
static COMPRESSED: AtomicUsize = AtomicUsize::new(0);

/// Where the bytes come from.
pub(super) struct Source {
    file: File,
    /// Bytes of the file that are still to be read.
    left: u64,
    chunk: usize,
    spare: Spare,
    large: Option<Permit>,
    gzip: Option<(GzEncoder<Vec<u8>>, Permit)>,
}

impl Source {
    /// `length` bytes from `start`. Compressed only if that makes them smaller and not too many others are.
    pub(super) fn open(mut file: File, start: u64, length: u64, coding: Coding) -> io::Result<Self> {
        file.seek(SeekFrom::Start(start))?;
        let gzip = match coding {
            Coding::Gzip if worth_it(&file)? => Permit::take(&COMPRESSED, MAX_COMPRESSED)
                .map(|place| (GzEncoder::new(Vec::new(), Compression::fast()), place)),
            _ => None,
        };
        let large = Permit::take(&LARGE, MAX_LARGE);
        let chunk = if large.is_some() { CHUNK_BYTES } else { SMALL_CHUNK_BYTES };
        Ok(Self { file, left: length, chunk, spare: Spare::default(), large, gzip })
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.gzip.is_some()
    }

    /// Some of the bytes; none at the end.
    fn next(&mut self) -> io::Result<Bytes> {
        loop {
            if self.left == 0 {
                return match self.gzip.take() {
                    Some((encoder, _)) => Ok(encoder.finish()?.into()),
                    None => Ok(Bytes::new()),
                };
            }
            let wanted = usize::try_from(self.left).unwrap_or(self.chunk).min(self.chunk);
            let bytes = self.spare.read(&mut self.file, wanted)?;
            if bytes.is_empty() {
                // The length is promised already: breaking off is the only honest way to say it.
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter"));
            }
            self.left -= bytes.len() as u64;
            if self.large.is_some() {
                self.chunk = (2 * self.chunk).min(MAX_CHUNK_BYTES);
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
fn worth_it(file: &File) -> io::Result<bool> {
    let mut sample = vec![0; SAMPLE_BYTES];
    let count = std::os::unix::fs::FileExt::read_at(file, &mut sample, 0)?;
    if count < SAMPLE_BYTES {
        return Ok(true);
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(SAMPLE_BYTES), Compression::fast());
    encoder.write_all(&sample)?;
    Ok(encoder.finish()?.len() < SAMPLE_BYTES / 8 * 7)
}

/// Buffers that the network is done with. Fresh ones cost more than reading into them: the kernel clears every page.
#[derive(Default, Clone)]
struct Spare(Arc<Mutex<Vec<Vec<u8>>>>);

impl Spare {
    /// At most `wanted` bytes, in a buffer of that size or one used before.
    fn read(&self, file: &mut File, wanted: usize) -> io::Result<Bytes> {
        let spare = self.lock().pop();
        let mut buffer = spare.filter(|buffer| buffer.len() >= wanted).unwrap_or_else(|| vec![0; wanted]);
        let into = buffer.get_mut(..wanted).unwrap_or_default();
        let count = loop {
            match file.read(into) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
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
    /// Known unless compressed.
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
        let left = (!source.is_compressed()).then_some(source.left);
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
