//! What the edge is compared with: a hyper server that has nothing to do but move bytes, in a thread of this process.
//!
//! `GET /<length>` sends zeroes, `POST /` forgets what comes. `GET /file` sends a real file and `POST /file` writes
//! one, both without a thread in between: nothing that serves files over hyper is simpler.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Read and sent at once.
const CHUNK: usize = 128 * 1024;

/// Starts it; `/file` is read from and written into `folder`.
pub(super) fn serve(folder: &Path) -> anyhow::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let folder: Arc<Path> = folder.into();
    std::thread::Builder::new().name("plain-server".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            while let Ok((socket, _)) = listener.accept().await {
                let folder = Arc::clone(&folder);
                let service = service_fn(move |request| answer(Arc::clone(&folder), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
    })?;
    Ok(address)
}

/// Where the file lies that is sent.
pub(super) fn source(folder: &Path) -> PathBuf {
    folder.join("source")
}

async fn answer(folder: Arc<Path>, request: Request<Incoming>) -> anyhow::Result<Response<Sent>> {
    let is_file = request.uri().path() == "/file";
    if request.method() == Method::GET {
        if is_file {
            let file = File::open(source(&folder))?;
            let left = file.metadata()?.len();
            return Ok(Response::new(Sent { file: Some(file), left }));
        }
        let left = request.uri().path().trim_start_matches('/').parse()?;
        return Ok(Response::new(Sent { file: None, left }));
    }
    let mut target = is_file.then(|| File::create(folder.join("target"))).transpose()?;
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        if let (Some(bytes), Some(target)) = (frame?.data_ref(), &mut target) {
            target.write_all(bytes)?;
        }
    }
    Ok(Response::new(Sent { file: None, left: 0 }))
}

/// A body of bytes from a file, or of zeroes.
struct Sent {
    file: Option<File>,
    left: u64,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let wanted = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
        let mut bytes = BytesMut::zeroed(wanted);
        if let Some(file) = &mut self.file {
            file.read_exact(&mut bytes)?;
        }
        self.left -= wanted as u64;
        Poll::Ready(Some(Ok(Frame::data(bytes.freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
