use std::io;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::sink::Sink;
use crate::pool;

/// Bytes that may wait while others are written.
const MAX_WAITING_BYTES: usize = 256 * 1024;

/// A file that is being uploaded: while some of its bytes are written on the pool, more are taken in.
pub(super) struct Target {
    pub(super) path: String,
    sink: SinkState,
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
}

enum SinkState {
    Here(Sink),
    /// On the pool.
    Away(oneshot::Receiver<(Sink, io::Result<()>)>),
    /// Never to come back.
    Lost,
}

impl Target {
    pub(super) fn new(path: String, sink: Sink) -> Self {
        Self { path, sink: SinkState::Here(sink), waiting: Vec::new(), waiting_bytes: 0 }
    }

    /// Waits only while too much is waiting already. What fails may be said by a later call.
    pub(super) async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.waiting_bytes += bytes.len();
        self.waiting.push(bytes);
        if self.waiting_bytes >= MAX_WAITING_BYTES || !self.is_under_way() {
            self.settle().await?;
            self.send(false);
        }
        Ok(())
    }

    /// Writes what is left. Returns how many bytes the file has got.
    pub(super) async fn finish(mut self) -> Result<u64, (Self, io::Error)> {
        let work = async {
            self.settle().await?;
            self.send(true);
            self.settle().await
        };
        if let Err(error) = work.await {
            return Err((self, error));
        }
        let bytes = self.bytes();
        if let SinkState::Here(sink) = self.sink {
            sink.keep();
        }
        Ok(bytes)
    }

    /// Bytes that were to be written so far.
    pub(super) fn bytes(&self) -> u64 {
        match &self.sink {
            SinkState::Here(sink) => sink.bytes(),
            SinkState::Away(_) | SinkState::Lost => 0,
        }
    }

    fn is_under_way(&self) -> bool {
        matches!(&self.sink, SinkState::Away(work) if work.is_empty())
    }

    fn send(&mut self, last: bool) {
        let SinkState::Here(mut sink) = std::mem::replace(&mut self.sink, SinkState::Lost) else { return };
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        self.sink = SinkState::Away(pool::submit_writing(move || {
            let written = waiting.iter().try_for_each(|bytes| sink.write(bytes));
            let result = if last { written.and_then(|()| sink.finish()) } else { written };
            (sink, result)
        }));
    }

    /// Waits until nothing is under way.
    async fn settle(&mut self) -> io::Result<()> {
        let SinkState::Away(work) = &mut self.sink else { return Ok(()) };
        let done = work.await;
        self.sink = SinkState::Lost;
        let (sink, result) = done.map_err(io::Error::other)?;
        self.sink = SinkState::Here(sink);
        result
    }
}
