//! Receivers that do as little as possible, on a thread of their own, so that it is the sender that is measured.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::processes;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// How it answers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Manner {
    Prompt,
    After(Duration),
    Never,
}

#[derive(Default)]
struct Taken {
    n: AtomicUsize,
    /// When the last one arrived.
    latest: Mutex<Option<Instant>>,
    /// When each event arrived first, by its id.
    at: Mutex<HashMap<String, Instant>>,
}

/// A receiver on loopback.
pub(super) struct Sink {
    url: String,
    taken: Arc<Taken>,
    accepting: AbortHandle,
}

/// The thread receivers live on.
pub(super) struct Sinks {
    runtime: Handle,
    thread: u32,
    _stop: oneshot::Sender<()>,
}

impl Sinks {
    pub(super) fn start() -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::Builder::new().name("sinks".to_owned()).spawn(move || {
            let thread = rustix::thread::gettid().as_raw_nonzero().get();
            // Whoever asked is waiting; and ends this by going away.
            let _ = sender.send(u32::try_from(thread).unwrap_or_default());
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Self { runtime: handle, thread: receiver.recv()?, _stop: stop })
    }

    /// CPU time they have used.
    pub(super) fn cpu(&self) -> Duration {
        processes::cpu_time_of_thread(self.thread).unwrap_or_default()
    }

    /// Another receiver; whether it keeps the `times` of all arrivals.
    pub(super) async fn open(&self, manner: Manner, times: bool) -> anyhow::Result<Sink> {
        let taken = Arc::new(Taken::default());
        let log = Arc::clone(&taken);
        let listener = self.runtime.spawn(TcpListener::bind("127.0.0.1:0")).await??;
        let url = format!("http://{}/", listener.local_addr()?);
        let accepting = self.runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let log = Arc::clone(&log);
                // A sender that goes away is no concern of the receiver's.
                tokio::spawn(async move { drop(serve(stream, manner, times, &log).await) });
            }
        });
        Ok(Sink { url, taken, accepting: accepting.abort_handle() })
    }
}

impl Sink {
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn n_taken(&self) -> usize {
        self.taken.n.load(Ordering::Relaxed)
    }

    /// When each event arrived, by its id.
    pub(super) fn times(&self) -> HashMap<String, Instant> {
        self.taken.at.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a delivery that arrives after `moment`; how long after.
    pub(super) async fn wait_after(&self, moment: Instant, limit: Duration) -> anyhow::Result<Duration> {
        loop {
            let latest = *self.taken.latest.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(latest) = latest.filter(|latest| *latest > moment) {
                return Ok(latest - moment);
            }
            anyhow::ensure!(moment.elapsed() < limit, "nothing arrived");
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }

    /// Waits until `n` deliveries were taken.
    pub(super) async fn wait_for(&self, n: usize, limit: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        while self.n_taken() < n {
            anyhow::ensure!(began.elapsed() < limit, "{} of {n} deliveries arrived", self.n_taken());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(stream: TcpStream, manner: Manner, times: bool, taken: &Taken) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line == "\r\n" {
                break;
            }
        }
        body.resize(length, 0);
        stream.read_exact(&mut body).await?;
        *taken.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        if times && let Some(id) = event_id(&body) {
            let mut at = taken.at.lock().unwrap_or_else(PoisonError::into_inner);
            at.entry(id).or_insert_with(Instant::now);
        }
        match manner {
            Manner::Prompt => {}
            Manner::After(delay) => tokio::time::sleep(delay).await,
            Manner::Never => std::future::pending().await,
        }
        taken.n.fetch_add(1, Ordering::Relaxed);
        stream.write_all(ANSWER).await?;
    }
}

fn event_id(body: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    value["id"].as_str().map(ToOwned::to_owned)
}
